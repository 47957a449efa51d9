// One connection of the verifying client: at most one request outstanding, made again whenever it breaks. When it asks
// is its owner's to say; what it asks, how, and what it makes of the answers is the protocol's (RedisConnection,
// PostgresConnection).
//
// Lives on one io_context's thread: every method is called there, and so is the owner.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "tools/verifier/judgement.hpp"

namespace understudy::tools {

class VerifierConnection {
  public:
    using Clock = std::chrono::steady_clock;
    using Endpoints = boost::asio::ip::tcp::resolver::results_type;

    // Who decides when something is asked, and hears how it went.
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
    VerifierConnection(Owner& owner, boost::asio::io_context& io, const Endpoints& endpoints);
    virtual ~VerifierConnection() = default;
    VerifierConnection(const VerifierConnection&) = delete;
    VerifierConnection& operator=(const VerifierConnection&) = delete;

    void connect();
    void close();

    [[nodiscard]] bool is_idle() const { return connected_ && !sent_at_; }
    // Since when it waits for an answer, across reconnections, if it does.
    [[nodiscard]] std::optional<Clock::time_point> waiting_since() const { return waiting_since_; }

    // What comes next, to be said when it is idle: a request of the protocol's choice, or, after begin_series(), the
    // next of a series. One whose answer was lost is made again.
    void send_next();
    enum class Series : std::uint8_t {
        greeting,  // what has to be answered before the first request of choice
        check,     // reads back every acknowledged write
    };
    void begin_series(Series which);
    // False: all are answered, and has_finished_series().
    bool send_next_of_series();
    [[nodiscard]] bool has_finished_series() const { return finished_; }

  protected:
    // --- What a protocol does

    // Begins to connect, which ends in opened() or failed().
    virtual void open() = 0;
    // Forgets the connection, whatever state it is in. Handlers that come late know by attempt().
    virtual void shut() = 0;
    virtual void ask() = 0;
    virtual void ask_of_series(Series which, std::size_t position) = 0;
    [[nodiscard]] virtual std::size_t length_of(Series which) const = 0;
    // No answer will come to what was asked last.
    virtual void leave_in_doubt() = 0;

    // --- What a protocol tells; each may lead to the next request, or to another attempt to connect

    void opened();
    void failed(const std::string& why);
    void answered(const Judgement& judgement);
    // Something came that is no answer to a request.
    void contradicted(const std::string& finding) { owner_.on_contradiction(finding); }
    void dropped(const std::string& why);

    [[nodiscard]] bool outstanding() const { return sent_at_.has_value(); }
    // A number for each connection that is made, and another when it is closed.
    [[nodiscard]] std::uint64_t attempt() const { return attempt_; }
    [[nodiscard]] const Endpoints& endpoints() const { return endpoints_; }

  private:
    void note_sent();
    void retry();

    static constexpr std::chrono::milliseconds kFirstRetry{5};

    Owner& owner_;
    const Endpoints& endpoints_;
    boost::asio::steady_timer retry_timer_;
    Clock::duration retry_after_ = kFirstRetry;
    std::uint64_t attempt_ = 0;
    bool connected_ = false;
    std::optional<Clock::time_point> sent_at_;  // of what is outstanding
    std::optional<Clock::time_point> waiting_since_;
    Series series_ = Series::greeting;
    std::size_t position_ = 0;
    bool finished_ = false;
};

}  // namespace understudy::tools
