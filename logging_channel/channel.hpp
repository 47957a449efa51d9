// The logging channel: one TCP connection between a primary and its backup. It greets, transfers the state, carries
// records one way and acknowledgements the other, and says "I am here" both ways. What the bytes are stands in
// preamble.hpp, common/message_stream.hpp and channel.proto; who sends what when, and why, in docs/protocol.md.
//
// Under TLS both sides show a host's certificate that is for the VM; without, both must be on this machine.
//
// Everything here runs on one thread, that of the io_context: every method is called there, every callback runs there.
// The peer is not trusted: every length is bounded before memory is taken for it, and whatever is out of turn,
// malformed or too large ends the connection with a reason.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/execution.hpp"
#include "common/guest_shape.hpp"
#include "common/tls/context.hpp"
#include "common/units.hpp"
#include "logging_channel/record_codec.hpp"
#include "logging_channel/state_codec.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::channel {

// What a backup says of itself, and what both sides must agree on before any state flows.
struct Hello {
    VmId vm;
    ReplicaId replica;
    std::string engine;
    std::uint64_t cpu_table_digest = 0;
    std::string version;  // of the program
};

struct Welcome {
    ReplicaId replica;      // the primary's
    Generation generation;  // of the pair to be
    GuestShape guest;
};

// Acknowledgement, progress and heartbeat. The backup fills the first two, the primary the last.
struct Report {
    StopNumber received;
    StopNumber replayed;
    StopNumber released;
};

// The guest has ended, and how.
struct Goodbye {
    std::string reason;             // one line
    std::uint64_t exit_status = 0;  // as Stop::argument
    std::string fault_report;       // of a guest that broke; its beginning
};

// Whether who was refused may ask again in a while.
enum class Refusal { for_now, for_good };

struct ReceivedRecord {
    Record record;
    Bytes size;  // encoded
};

struct ChannelOptions {
    std::chrono::milliseconds heartbeat{25};
    std::chrono::milliseconds handshake{3000};  // from the connection to the whole greeting
    // What may wait to be sent before the connection is given up as stuck. The log window keeps it far lower.
    Bytes max_backlog = 256_MiB;
    int compression = 0;  // zstd level of state transfers
    // A host's credentials; null: plain text, which is for loopback.
    std::shared_ptr<tls::Context> tls;
};

class Connection {
  public:
    // What arrives. Absent handlers ignore. The connection may be closed or destroyed from within any of them.
    struct Handlers {
        std::function<void()> on_heard;  // anything arrived: for the suspicion timer
        // At the primary.
        std::function<void()> on_ready;
        // At both.
        std::function<void(const Report&)> on_report;
        std::function<void(const Goodbye&)> on_goodbye;
        // At the backup. on_state: the memory given to receive_state() is filled.
        std::function<void(const StateProgress&)> on_progress;
        std::function<void(LogBase base, std::vector<std::byte> vcpu_state)> on_state;
        std::function<void(std::vector<ReceivedRecord> records)> on_records;  // all of one message
        std::function<void()> on_formed;
        // The connection is gone, for a reason of one line. Once, last, and not after close().
        std::function<void(const std::string& why)> on_closed;
    };

    ~Connection();  // closes
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Begins to send a heartbeat whenever nothing else was sent for a while: for who has something to do before it can
    // start(), and wants its peer to know that it lives.
    void keep_alive();
    // Begins to receive, and to send heartbeats. Until then what the peer sends waits in the kernel. on_closed is
    // called for a connection that broke before, too.
    void start(Handlers handlers);
    // Closes at once; what is queued is lost. No handler is called any more.
    void close();
    // The same, but what is queued is sent first, for at most a second; the object may go meanwhile.
    void finish();
    [[nodiscard]] bool is_open() const;

    // --- At the primary ---------------------------------------------------------------------------------------------
    // Exactly one of these answers a candidate.
    void welcome(const Welcome& welcome);
    void refuse(std::string_view reason, Refusal refusal);

    // Sends the state of the stop `base`. `memory` is read piece by piece while the connection drains, and destroyed on
    // this thread when it was read whole or the connection closes. Records sent meanwhile follow the state.
    void send_state(LogBase base, std::unique_ptr<StateSource> memory, std::vector<std::byte> vcpu_state,
                    std::function<void(const StateProgress&)> progress);
    // Queues pages of the delta of the record that is sent next. flush() sends.
    void send_pages(const EncodedPages& pages);
    // Queues a record, the first being that of the stop behind `base`; returns its encoded size, with pages that went
    // ahead. flush() sends.
    Bytes send_record(const Record& record);
    // Outputs up to `stop` have left: told with the next message or heartbeat.
    void set_released(StopNumber stop);
    void send_formed();

    // --- At the backup ----------------------------------------------------------------------------------------------
    // Where the state goes: zero, Welcome::guest.memory bytes, valid until on_state or close. Call before start().
    void receive_state(std::span<std::byte> memory);
    // The state is in place; acknowledges its stop, too.
    void send_ready();
    // Every record up to `received` is in this replica's memory, up to `replayed` replayed: told with the next message
    // or heartbeat, at once by flush().
    void set_progress(StopNumber received, StopNumber replayed);
    // From now on set_progress() does nothing, for ever.
    void stop_acknowledging();

    // --- At both ----------------------------------------------------------------------------------------------------
    // Of a state that is on its way, and what waits behind it, the rest is left out: nobody wants it any more.
    void send_goodbye(const Goodbye& goodbye);
    // Sends what is queued: with one write, when the socket takes it.
    void flush();
    // Saves the connection a timer of its own, for owners that are awake every few milliseconds anyway: sends a
    // heartbeat if nothing was sent for half its interval, and puts off the next.
    void tick();
    // Queued and not yet taken by the kernel, without what waits behind a state, which its sender bounds.
    [[nodiscard]] Bytes backlog() const;
    // Taken by the kernel since the connection began.
    [[nodiscard]] Bytes written() const;

    class Impl;
    explicit Connection(std::shared_ptr<Impl> impl);

  private:
    std::shared_ptr<Impl> impl_;
};

// What a primary offers; a backup that differs in any of it is refused with a message that says in which.
struct ListenerConfig {
    std::string address = "0.0.0.0";
    std::uint16_t port = 0;  // 0: any free one
    VmId vm;
    ReplicaId replica;
    std::string engine;
    std::uint64_t cpu_table_digest = 0;
    std::size_t max_unauthenticated = 16;  // connections that have not said Hello; for more, the longest silent go
    ChannelOptions options;
};

// Accepts candidates at the primary. Whatever does not greet properly within the deadline is dropped, and named once
// per address in a warning.
class Listener {
  public:
    struct Handlers {
        // A backup that agrees in everything asks to join: answer by welcome() or refuse().
        std::function<void(std::unique_ptr<Connection>, Hello)> on_candidate;
        std::function<void(const std::string& line)> on_warning;
    };

    // Throws understudy::Error when the port cannot be had, or is for plain text and not on loopback.
    Listener(boost::asio::io_context& io, ListenerConfig config, Handlers handlers);
    ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    [[nodiscard]] std::uint16_t port() const;

  private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

struct Joined {
    std::unique_ptr<Connection> connection;  // receive_state() and start() it
    Welcome welcome;
};
struct JoinFailure {
    bool refused = false;  // for good, or no primary of this version is there; otherwise it is worth another try
    std::string reason;    // one line
};
using JoinResult = std::variant<Joined, JoinFailure>;

// Asks the primary at `host`:`port` to take this backup. `done` is called once, within `timeout`, unless the io_context
// stops first.
void join(boost::asio::io_context& io, const std::string& host, std::uint16_t port, const Hello& hello,
          std::chrono::milliseconds timeout, const ChannelOptions& options, std::function<void(JoinResult)> done);

}  // namespace understudy::channel
