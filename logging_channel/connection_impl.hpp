// The inside of a Connection, shared by connection*.cpp, listener.cpp and join.cpp; no other file includes it.
// connection.cpp has its life and the public face, connection_receive.cpp what comes in, connection_send.cpp what goes
// out.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/message_stream.hpp"
#include "common/tls/stream.hpp"
#include "logging_channel/channel.hpp"
#include "logging_channel/channel.pb.h"
#include "logging_channel/preamble.hpp"

namespace understudy::channel {

class Connection::Impl : public std::enable_shared_from_this<Connection::Impl> {
  public:
    using Socket = boost::asio::ip::tcp::socket;
    enum class Side { primary, backup };

    Impl(Socket socket, Side side, const ChannelOptions& options);

    // --- The greeting -----------------------------------------------------------------------------------------------
    // Under TLS, first shakes hands; then sends what is queued, and reads the peer's preamble and first message, all of
    // it within the handshake deadline; then pauses. One of the two is called, once, never from within greet().
    struct Greeting {
        std::function<void(std::shared_ptr<Impl>, const wire::Message&)> done;
        std::function<void(const std::string& why)> failed;
    };
    void greet(Greeting greeting);
    // When the peer last said anything; before it has, when the connection began.
    [[nodiscard]] std::chrono::steady_clock::time_point last_heard() const { return last_heard_; }
    // What stands against the peer's certificate, for a connection about `vm`; empty: nothing, or plain text.
    [[nodiscard]] std::string objection_to_peer(const VmId& vm);
    // The peer answered, and to ask it again is of no use.
    [[nodiscard]] bool unfit() const { return unfit_; }
    void send(const wire::Message& message);
    void send_preamble();

    // --- As in Connection -------------------------------------------------------------------------------------------
    void keep_alive() { beat(); }
    void tick();
    void start(Handlers handlers);
    void close();
    void finish();
    [[nodiscard]] bool is_open() const { return stage_ != Stage::closing && stage_ != Stage::closed; }
    void send_state(LogBase base, std::unique_ptr<StateSource> memory, std::vector<std::byte> vcpu_state,
                    std::function<void(const StateProgress&)> progress);
    void send_pages(const EncodedPages& pages);
    Bytes send_record(const Record& record);
    void set_released(StopNumber stop);
    void send_goodbye(const Goodbye& goodbye);
    void receive_state(std::span<std::byte> memory) { state_in_.emplace(memory); }
    void send_ready();
    void set_progress(StopNumber received, StopNumber replayed);
    void stop_acknowledging() { may_acknowledge_ = false; }
    void flush();
    [[nodiscard]] Bytes backlog() const;
    [[nodiscard]] Bytes written() const { return written_; }

  private:
    enum class Stage { greeting, greeted, running, closing, closed };
    [[nodiscard]] bool reports() const { return stage_ == Stage::greeted || stage_ == Stage::running; }

    struct OutgoingState {
        StateEncoder encoder;
        std::function<void(const StateProgress&)> progress;
    };

    void read();
    void take_greeting();
    [[nodiscard]] std::string strange_bytes() const;
    [[nodiscard]] std::string end_without_words() const;
    void take_messages();
    void take(const wire::Message& message);
    void take_state(std::span<const std::byte> chunk);
    void take_records(std::span<const std::byte> bytes);
    void take_nothing();
    void fail(std::string why);
    void report_failure();
    void shut();

    void write();
    void batched();
    void send_batch();
    void queue(const wire::Message& message);
    void pump_state();
    void pump_behind_state();
    void beat();

    Side side_;
    ChannelOptions options_;
    tls::Stream stream_;
    Stage stage_ = Stage::greeting;
    bool open_for_bytes_ = false;  // the handshake is done
    bool silenced_ = false;        // closed by the owner, or the failure reported: no handler is called any more
    std::optional<std::string> failure_;
    Greeting greeting_;
    bool preamble_taken_ = false;
    bool unfit_ = false;
    Handlers handlers_;
    boost::asio::steady_timer timer_;  // the greeting's deadline, the heartbeat, the end's deadline
    bool reading_ = false;
    std::chrono::steady_clock::time_point last_heard_ = std::chrono::steady_clock::now();

    // In.
    MessageReader reader_{kMaxHandshakeBytes};
    std::unique_ptr<wire::Message> message_;  // kept for its buffers
    std::optional<StateDecoder> state_in_;
    std::optional<LogBase> base_;
    bool state_complete_ = false;
    RecordDecoder record_decoder_;
    Bytes received_ahead_;  // pages of the record to come

    // Out. Messages gather in pending_ while in_flight_ is being written; records gather in batch_ until they become a
    // message, behind the state when one is under way.
    std::vector<std::byte> pending_;
    std::vector<std::byte> in_flight_;
    std::vector<std::byte> batch_;
    std::deque<std::vector<std::byte>> behind_state_;  // messages
    bool writing_ = false;
    Bytes written_;
    std::chrono::steady_clock::time_point last_write_;
    std::unique_ptr<OutgoingState> state_out_;
    bool pumping_ = false;
    RecordEncoder record_encoder_;
    Bytes sent_ahead_;  // pages of the record to come
    Report report_;     // the newest of ours
    bool report_due_ = false;
    bool may_acknowledge_ = true;
};

[[nodiscard]] std::string printable(const boost::asio::ip::tcp::endpoint& endpoint);

// As much of a peer's reason, or of one for a peer, as is sent and shown.
[[nodiscard]] std::string bounded_reason(std::string_view reason);
constexpr std::size_t kMaxFaultReportBytes = 16U << 10;

}  // namespace understudy::channel
