// One connection of the verifying client: at most one request outstanding, made again whenever it breaks. What it asks
// and what it makes of the answers is its KeyModel's; when it asks is its owner's.
//
// Lives on one io_context's thread: every method is called there, and so is the owner.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "tools/verifier/model.hpp"

namespace understudy::tools {

class VerifierConnection {
  public:
    using Clock = std::chrono::steady_clock;
    using Endpoints = boost::asio::ip::tcp::resolver::results_type;

    // Who decides what is asked next, and hears how it went.
    class Owner {
      public:
        Owner() = default;
        virtual ~Owner() = default;
        Owner(const Owner&) = delete;
        Owner& operator=(const Owner&) = delete;

        // Connected, and nothing is outstanding.
        virtual void on_idle(VerifierConnection& connection) = 0;
        virtual void on_answer(const Judgement& judgement, Clock::time_point sent_at, Clock::time_point waiting_since,
                               Clock::time_point now) = 0;
        virtual void on_contradiction(const std::string& finding) = 0;
        // The other side ended a connection, or it broke, and it is being made again.
        virtual void on_drop(const std::string& why) = 0;
        // A connection could not be made. It is tried again.
        virtual void on_refusal(const std::string& why) = 0;
    };

    // `owner`, `io` and `endpoints`, where the server is, outlive the connection; `io` does not run any more once the
    // connection is gone.
    VerifierConnection(Owner& owner, boost::asio::io_context& io, const Endpoints& endpoints, KeyModel model);
    VerifierConnection(const VerifierConnection&) = delete;
    VerifierConnection& operator=(const VerifierConnection&) = delete;

    void connect();
    void close();

    [[nodiscard]] bool is_idle() const { return connected_ && !outstanding_; }
    // Since when it waits for an answer, across reconnections, if it does.
    [[nodiscard]] std::optional<Clock::time_point> waiting_since() const { return waiting_since_; }

    // What comes next, to be said when it is idle: a request of the model's choice, or, after begin_reads(), the reads
    // of the model's first key or of every key, one after the other. A read whose answer was lost is made again.
    void send_next() { send(model_.next()); }
    enum class Reads : std::uint8_t { one_key, every_key };
    void begin_reads(Reads which);
    // False: all are answered, and has_read().
    bool read_next_key();
    [[nodiscard]] bool has_read() const { return has_read_; }

  private:
    struct Outstanding {
        KeyRequest request;
        Clock::time_point sent_at;
    };

    void send(KeyRequest request);
    void receive();
    bool take_replies();
    void answered(const Reply& reply);
    void drop(const std::string& why);
    void retry();

    static constexpr std::chrono::milliseconds kFirstRetry{5};

    Owner& owner_;
    const Endpoints& endpoints_;
    KeyModel model_;
    boost::asio::ip::tcp::socket socket_;
    boost::asio::steady_timer retry_timer_;
    Clock::duration retry_after_ = kFirstRetry;
    std::uint64_t attempt_ = 0;  // tells handlers of an earlier connection that they are late
    bool connected_ = false;
    std::optional<Outstanding> outstanding_;
    std::optional<Clock::time_point> waiting_since_;
    std::size_t position_ = 0;  // in the reads
    std::size_t end_ = 0;
    bool has_read_ = false;
    std::array<char, 4096> buffer_{};
    std::string received_;
};

}  // namespace understudy::tools
