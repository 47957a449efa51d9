#include "tools/verifier.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <functional>
#include <future>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "tools/verifier_model.hpp"
#include "tools/verifier_reply.hpp"

namespace understudy::tools {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kTick = 2ms;  // of the pacer: requests leave in small groups, which costs fewer wakeups
constexpr auto kFirstRetry = 5ms;
constexpr auto kLongestRetry = 200ms;
constexpr double kMaxBurstSeconds = 0.02;  // what the pacer makes up for after it was not scheduled

// Counts durations in buckets of 1/16 of a power of two.
class Histogram {
  public:
    void add(std::chrono::nanoseconds duration) {
        ++buckets_[bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)))];
        ++count_;
    }

    [[nodiscard]] std::chrono::nanoseconds quantile(double q) const {
        const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(count_));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets_.size(); ++i) {
            seen += buckets_[i];
            if (seen > rank) {
                return std::chrono::nanoseconds(middle_of(i));
            }
        }
        return 0ns;
    }

  private:
    static constexpr unsigned kSubBits = 4;

    static std::size_t bucket_of(std::uint64_t value) {
        if (value >> kSubBits == 0) {
            return static_cast<std::size_t>(value);
        }
        const auto shift = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
        return ((shift + 1U) << kSubBits) + ((value >> shift) & ((1U << kSubBits) - 1));
    }
    static std::int64_t middle_of(std::size_t bucket) {
        if (bucket >> kSubBits == 0) {
            return static_cast<std::int64_t>(bucket);
        }
        const auto shift = (bucket >> kSubBits) - 1;
        const auto lowest = ((bucket & ((1U << kSubBits) - 1)) | (1U << kSubBits)) << shift;
        return static_cast<std::int64_t>(lowest + ((std::size_t{1} << shift) >> 1));
    }

    std::array<std::uint64_t, std::size_t{64} << kSubBits> buckets_{};
    std::uint64_t count_ = 0;
};

// What has happened since some moment.
struct Window {
    Clock::time_point begin = Clock::now();
    VerifierFigures figures;
    Histogram latency;
};

std::pair<std::string, std::string> split_address(const std::string& text) {
    const auto colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
        throw Error::format("'{}' is no server: write HOST:PORT", text);
    }
    return {text.substr(0, colon), text.substr(colon + 1)};
}

std::string random_name() {
    std::random_device source;
    return fmt::format("{:08x}{:08x}", source(), source());
}

}  // namespace

// One thread runs everything below; the public methods hand it tasks and wait.
class Verifier::Engine {
  public:
    explicit Engine(VerifierConfig config) : config_(std::move(config)), pacer_(io_) {
        if (config_.connections == 0 || config_.keys_per_connection == 0 || config_.rate < 0) {
            throw Error("the verifying client needs at least one connection, one key and no negative rate");
        }
        const auto [host, port] = split_address(config_.server);
        error_code error;
        endpoints_ = tcp::resolver(io_).resolve(host, port, error);
        if (error) {
            throw Error::format("cannot resolve {}: {}", config_.server, error.message());
        }
        const std::string run = random_name();
        for (std::size_t i = 0; i < config_.connections; ++i) {
            clients_.push_back(std::make_unique<Client>(
                *this, KeyModel(fmt::format("verify:{}:{}", run, i), config_.keys_per_connection)));
        }
        thread_ = std::thread([this] { io_.run(); });
    }

    ~Engine() {
        asio::post(io_, [this] { close_all(); });
        work_.reset();
        thread_.join();
    }
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    void start(std::chrono::milliseconds timeout) {
        if (!run_phase(Phase::starting, timeout)) {
            const auto reason = call([this] { return last_error_; });
            call([this] { close_all(); });
            throw Error::format("{} did not answer on all {} connections within {} ms{}{}", config_.server,
                                config_.connections, timeout.count(), reason.empty() ? "" : ": ", reason);
        }
        call([this] {
            total_ = Window{};
            window_ = Window{};
            resume_writing();
        });
    }

    void mark() {
        call([this] { window_ = Window{}; });
    }

    VerifierFigures since_start() {
        return call([this] { return figures_of(total_); });
    }
    VerifierFigures since_mark() {
        return call([this] { return figures_of(window_); });
    }

    bool check(std::chrono::milliseconds timeout, bool last) {
        const bool complete = run_phase(Phase::checking, timeout);
        call([this, last] {
            if (last) {
                close_all();
            } else {
                resume_writing();
            }
        });
        return complete;
    }

  private:
    enum class Phase { idle, starting, writing, checking, closed };

    class Client {
      public:
        Client(Engine& engine, KeyModel model)
            : engine_(engine), model_(std::move(model)), socket_(engine.io_), retry_timer_(engine.io_) {}

        [[nodiscard]] bool is_idle() const { return connected_ && !outstanding_; }
        [[nodiscard]] bool is_waiting() const { return waiting_since_.has_value(); }
        [[nodiscard]] Clock::time_point waiting_since() const { return *waiting_since_; }

        void connect() {
            const auto attempt = ++attempt_;
            asio::async_connect(socket_, engine_.endpoints_,
                                [this, attempt](error_code error, const tcp::endpoint& /*where*/) {
                                    if (attempt != attempt_) {
                                        return;
                                    }
                                    if (error) {
                                        engine_.last_error_ = error.message();
                                        retry();
                                        return;
                                    }
                                    connected_ = true;
                                    socket_.set_option(tcp::no_delay(true), error);
                                    receive();
                                    engine_.on_idle(*this);
                                });
        }

        // A start is one read, answered; a check is a read of every key.
        void begin_phase(Phase phase) {
            position_ = 0;
            end_ = phase == Phase::starting ? 1 : model_.keys();
            phase_done_ = false;
        }
        [[nodiscard]] bool is_phase_done() const { return phase_done_; }
        void set_phase_done() { phase_done_ = true; }

        // The reads of the phase, one after the other. False: all are answered.
        bool read_next_key() {
            if (position_ == end_) {
                return false;
            }
            send(model_.read(position_++));
            return true;
        }

        void send_next() { send(model_.next()); }

        void close() {
            ++attempt_;
            connected_ = false;
            waiting_since_.reset();
            outstanding_.reset();
            error_code ignored;
            socket_.close(ignored);
            retry_timer_.cancel();
        }

      private:
        struct Outstanding {
            KeyRequest request;
            Clock::time_point sent_at;
        };

        void send(KeyRequest request) {
            const auto now = Clock::now();
            outstanding_.emplace(Outstanding{.request = std::move(request), .sent_at = now});
            waiting_since_ = waiting_since_.value_or(now);
            asio::async_write(socket_, asio::buffer(outstanding_->request.bytes),
                              [](error_code /*error*/, std::size_t /*size*/) {
                                  // A connection that cannot be written to ends, and the reader hears of it.
                              });
        }

        void receive() {
            socket_.async_read_some(
                asio::buffer(buffer_), [this, attempt = attempt_](error_code error, std::size_t size) {
                    if (attempt != attempt_) {
                        return;
                    }
                    if (error) {
                        drop(error == asio::error::eof ? "the server closed the connection" : error.message());
                        return;
                    }
                    received_.append(buffer_.data(), size);
                    if (take_replies()) {
                        receive();
                    }
                });
        }

        // False when the connection is no more.
        bool take_replies() {
            while (!received_.empty()) {
                auto decoded = decode_reply(received_);
                if (decoded.status == DecodedReply::Status::need_more) {
                    return true;
                }
                if (decoded.status == DecodedReply::Status::malformed || !outstanding_) {
                    engine_.note_contradiction(outstanding_ ? "bytes that are no answer" : "an answer to no request");
                    drop("the stream of answers is broken");
                    return false;
                }
                received_.erase(0, decoded.size);
                const auto attempt = attempt_;
                answered(decoded.reply);
                if (attempt != attempt_) {
                    return false;
                }
            }
            return true;
        }

        void answered(const Reply& reply) {
            const auto now = Clock::now();
            const auto done = std::move(*outstanding_);
            outstanding_.reset();
            retry_after_ = kFirstRetry;
            engine_.note_answer(model_.judge(done.request, reply), done.sent_at, *waiting_since_, now);
            waiting_since_.reset();
            engine_.on_idle(*this);
        }

        void drop(const std::string& why) {
            ++attempt_;
            if (outstanding_) {
                model_.leave_in_doubt(outstanding_->request);
                outstanding_.reset();
            }
            position_ -= position_ > 0 ? 1 : 0;  // that answer will not come
            waiting_since_ = waiting_since_.value_or(Clock::now());
            engine_.note_drop(why);
            retry();
        }

        void retry() {
            connected_ = false;
            received_.clear();
            error_code ignored;
            socket_.close(ignored);
            retry_timer_.expires_after(
                std::exchange(retry_after_, std::min<Clock::duration>(retry_after_ * 2, kLongestRetry)));
            retry_timer_.async_wait([this, attempt = attempt_](error_code error) {
                if (!error && attempt == attempt_) {
                    connect();
                }
            });
        }

        Engine& engine_;
        KeyModel model_;
        tcp::socket socket_;
        asio::steady_timer retry_timer_;
        Clock::duration retry_after_ = kFirstRetry;
        std::uint64_t attempt_ = 0;  // tells handlers of an earlier connection that they are late
        bool connected_ = false;
        std::optional<Outstanding> outstanding_;
        std::optional<Clock::time_point> waiting_since_;  // for an answer, across reconnections
        std::size_t position_ = 0;                        // in a phase of reads
        std::size_t end_ = 0;
        bool phase_done_ = false;
        std::array<char, 4096> buffer_{};
        std::string received_;
    };

    template <typename Task>
    auto call(Task task) -> decltype(task()) {
        std::packaged_task<decltype(task())()> packaged(std::move(task));
        auto result = packaged.get_future();
        asio::post(io_, [&packaged] { packaged(); });
        return result.get();
    }

    // Starting and checking are done when every connection is. False: not all of them after `timeout`.
    bool run_phase(Phase phase, std::chrono::milliseconds timeout) {
        auto done = call([this, phase] {
            phase_done_ = std::promise<void>();
            auto future = phase_done_.get_future();
            unfinished_ = clients_.size();
            phase_ = phase;
            for (const auto& client : clients_) {
                client->begin_phase(phase);
                if (phase == Phase::starting) {
                    client->connect();
                } else if (client->is_idle()) {
                    on_idle(*client);
                }
            }
            return future;
        });
        return done.wait_for(timeout) == std::future_status::ready;
    }

    void resume_writing() {
        phase_ = Phase::writing;
        last_tick_ = Clock::now();
        allowance_ = 0;
        if (config_.rate == 0) {
            for (const auto& client : clients_) {
                if (client->is_idle()) {
                    client->send_next();
                }
            }
        } else {
            tick();
        }
    }

    void close_all() {
        phase_ = Phase::closed;
        pacer_.cancel();
        for (const auto& client : clients_) {
            client->close();
        }
    }

    // A connection has nothing outstanding.
    void on_idle(Client& client) {
        switch (phase_) {
            case Phase::starting:
            case Phase::checking:
                if (!client.is_phase_done() && !client.read_next_key()) {
                    client.set_phase_done();
                    if (--unfinished_ == 0) {
                        phase_done_.set_value();
                    }
                }
                return;
            case Phase::writing:
                if (config_.rate == 0) {
                    client.send_next();
                }
                return;
            case Phase::idle:
            case Phase::closed:
                return;
        }
    }

    void tick() {
        if (phase_ != Phase::writing) {
            return;
        }
        const auto now = Clock::now();
        allowance_ += config_.rate * std::chrono::duration<double>(now - std::exchange(last_tick_, now)).count();
        allowance_ = std::min(allowance_, std::max(1.0, config_.rate * kMaxBurstSeconds));
        for (std::size_t looked_at = 0; allowance_ >= 1 && looked_at < clients_.size(); ++looked_at) {
            Client& client = *clients_[next_client_++ % clients_.size()];
            if (client.is_idle()) {
                client.send_next();
                allowance_ -= 1;
            }
        }
        pacer_.expires_after(kTick);
        pacer_.async_wait([this](error_code error) {
            if (!error) {
                tick();
            }
        });
    }

    // --- figures ---

    template <typename Change>
    void in_both(Change change) {
        change(total_);
        change(window_);
    }

    static void note_finding(Window& window, const std::string& finding) {
        if (window.figures.first_finding.empty()) {
            window.figures.first_finding = finding;
        }
    }

    void note_answer(const Judgement& judgement, Clock::time_point sent_at, Clock::time_point waiting_since,
                     Clock::time_point now) {
        in_both([&](Window& window) {
            VerifierFigures& figures = window.figures;
            ++figures.answers;
            figures.acknowledged_writes += judgement.acknowledged_write ? 1 : 0;
            figures.lost_acknowledged_writes += judgement.lost_writes;
            figures.contradictions += judgement.contradiction ? 1 : 0;
            figures.longest_gap =
                std::max<std::chrono::nanoseconds>(figures.longest_gap, now - std::max(waiting_since, window.begin));
            window.latency.add(now - std::max(sent_at, window.begin));
            if (!judgement.finding.empty()) {
                note_finding(window, judgement.finding);
            }
        });
    }

    void note_contradiction(const std::string& finding) {
        in_both([&](Window& window) {
            ++window.figures.contradictions;
            note_finding(window, finding);
        });
    }

    void note_drop(const std::string& why) {
        last_error_ = why;
        in_both([&](Window& window) {
            ++window.figures.dropped_connections;
            note_finding(window, "a connection was dropped: " + why);
        });
    }

    VerifierFigures figures_of(const Window& window) const {
        const auto now = Clock::now();
        VerifierFigures figures = window.figures;
        figures.duration = now - window.begin;
        for (const auto& client : clients_) {
            if (client->is_waiting()) {
                ++figures.unanswered;
                figures.longest_gap = std::max<std::chrono::nanoseconds>(
                    figures.longest_gap, now - std::max(client->waiting_since(), window.begin));
            }
        }
        figures.latency_p50 = window.latency.quantile(0.5);
        figures.latency_p99 = window.latency.quantile(0.99);
        figures.latency_p999 = window.latency.quantile(0.999);
        return figures;
    }

    VerifierConfig config_;
    asio::io_context io_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
    tcp::resolver::results_type endpoints_;
    asio::steady_timer pacer_;
    std::vector<std::unique_ptr<Client>> clients_;
    Phase phase_ = Phase::idle;
    std::promise<void> phase_done_;
    std::size_t unfinished_ = 0;
    std::size_t next_client_ = 0;
    double allowance_ = 0;  // requests that may leave now
    Clock::time_point last_tick_{};
    std::string last_error_;
    Window total_;
    Window window_;
    std::thread thread_;
};

Verifier::Verifier(VerifierConfig config) : engine_(std::make_unique<Engine>(std::move(config))) {}
Verifier::~Verifier() = default;
void Verifier::start(std::chrono::milliseconds timeout) {
    engine_->start(timeout);
}
void Verifier::mark() {
    engine_->mark();
}
VerifierFigures Verifier::since_start() const {
    return engine_->since_start();
}
VerifierFigures Verifier::since_mark() const {
    return engine_->since_mark();
}
bool Verifier::check(std::chrono::milliseconds timeout) {
    return engine_->check(timeout, false);
}
bool Verifier::final_check(std::chrono::milliseconds timeout) {
    return engine_->check(timeout, true);
}

}  // namespace understudy::tools
