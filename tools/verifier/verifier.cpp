#include "tools/verifier/verifier.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "common/address.hpp"
#include "common/error.hpp"
#include "tools/verifier/connection.hpp"
#include "tools/verifier/key_model.hpp"
#include "tools/verifier/ledger_model.hpp"
#include "tools/verifier/postgres_connection.hpp"
#include "tools/verifier/redis_connection.hpp"
#include "tools/verifier/window.hpp"

namespace understudy::tools {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kTick = 2ms;                // of the pacer: requests leave in small groups, which costs fewer wakeups
constexpr double kMaxBurstSeconds = 0.02;  // what the pacer makes up for after it was not scheduled

std::string random_name() {
    std::random_device source;
    return fmt::format("{:08x}{:08x}", source(), source());
}

}  // namespace

// One thread runs everything below; the public methods hand it tasks and wait.
class Verifier::Engine final : public VerifierConnection::Owner {
  public:
    explicit Engine(VerifierConfig config) : config_(std::move(config)), pacer_(io_) {
        if (config_.connections == 0 || config_.keys_per_connection == 0 || config_.rate < 0) {
            throw Error("the verifying client needs at least one connection, one key and no negative rate");
        }
        const Address server = parse_address(config_.server);
        error_code error;
        endpoints_ = tcp::resolver(io_).resolve(server.host, std::to_string(server.port), error);
        if (error) {
            throw Error::format("cannot resolve {}: {}", config_.server, error.message());
        }
        const std::string run = random_name();
        for (std::size_t i = 0; i < config_.connections; ++i) {
            connections_.push_back(make_connection(run, i));
        }
        thread_ = std::thread([this] { io_.run(); });
    }

    ~Engine() override {
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
            total_ = VerifierWindow{};
            window_ = VerifierWindow{};
            resume_writing();
        });
    }

    void mark() {
        call([this] { window_ = VerifierWindow{}; });
    }

    VerifierFigures since_start() {
        return call([this] { return figures_of(total_); });
    }
    VerifierFigures since_mark() {
        return call([this] { return figures_of(window_); });
    }

    std::optional<Clock::time_point> first_answer_since_mark(Clock::time_point time) {
        return call([&]() -> std::optional<Clock::time_point> {
            const auto& times = window_.answer_times();
            const auto found = std::ranges::lower_bound(times, time);
            return found == times.end() ? std::nullopt : std::optional(*found);
        });
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
    // `run`: a word that no earlier run has used.
    std::unique_ptr<VerifierConnection> make_connection(const std::string& run, std::size_t index) {
        if (config_.protocol == Protocol::postgres) {
            return std::make_unique<PostgresConnection>(
                *this, io_, endpoints_,
                LedgerModel("verify_" + run, static_cast<unsigned>(index), static_cast<unsigned>(config_.connections)));
        }
        return std::make_unique<RedisConnection>(
            *this, io_, endpoints_, KeyModel(fmt::format("verify:{}:{}", run, index), config_.keys_per_connection));
    }

    enum class Phase { idle, starting, writing, checking, closed };

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
            unfinished_ = connections_.size();
            phase_ = phase;
            for (const auto& connection : connections_) {
                connection->begin_series(phase == Phase::starting ? VerifierConnection::Series::greeting
                                                                  : VerifierConnection::Series::check);
                if (phase == Phase::starting) {
                    connection->connect();
                } else if (connection->is_idle()) {
                    on_idle(*connection);
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
            for (const auto& connection : connections_) {
                if (connection->is_idle()) {
                    connection->send_next();
                }
            }
        } else {
            tick();
        }
    }

    void close_all() {
        phase_ = Phase::closed;
        pacer_.cancel();
        for (const auto& connection : connections_) {
            connection->close();
        }
    }

    void on_idle(VerifierConnection& connection) override {
        switch (phase_) {
            case Phase::starting:
            case Phase::checking:
                if (!connection.has_finished_series() && !connection.send_next_of_series() && --unfinished_ == 0) {
                    phase_done_.set_value();
                }
                return;
            case Phase::writing:
                if (config_.rate == 0) {
                    connection.send_next();
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
        for (std::size_t looked_at = 0; allowance_ >= 1 && looked_at < connections_.size(); ++looked_at) {
            VerifierConnection& connection = *connections_[next_connection_++ % connections_.size()];
            if (connection.is_idle()) {
                connection.send_next();
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

    // --- What the connections tell

    template <typename Change>
    void in_both(Change change) {
        change(total_);
        change(window_);
    }

    void on_answer(const Judgement& judgement, Clock::time_point sent_at, Clock::time_point waiting_since,
                   Clock::time_point now) override {
        in_both([&](VerifierWindow& window) { window.note_answer(judgement, sent_at, waiting_since, now); });
    }

    void on_contradiction(const std::string& finding) override {
        in_both([&](VerifierWindow& window) { window.note_contradiction(finding); });
    }

    void on_drop(const std::string& why) override {
        last_error_ = why;
        in_both([&](VerifierWindow& window) { window.note_drop(why); });
    }

    void on_refusal(const std::string& why) override { last_error_ = why; }

    VerifierFigures figures_of(const VerifierWindow& window) const {
        std::vector<Clock::time_point> waiting_since;
        for (const auto& connection : connections_) {
            if (const auto since = connection->waiting_since()) {
                waiting_since.push_back(*since);
            }
        }
        return window.figures(Clock::now(), waiting_since);
    }

    VerifierConfig config_;
    asio::io_context io_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
    tcp::resolver::results_type endpoints_;
    asio::steady_timer pacer_;
    std::vector<std::unique_ptr<VerifierConnection>> connections_;
    Phase phase_ = Phase::idle;
    std::promise<void> phase_done_;
    std::size_t unfinished_ = 0;
    std::size_t next_connection_ = 0;
    double allowance_ = 0;  // requests that may leave now
    Clock::time_point last_tick_{};
    std::string last_error_;
    VerifierWindow total_;
    VerifierWindow window_;
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
std::optional<Clock::time_point> Verifier::first_answer_since_mark(Clock::time_point time) const {
    return engine_->first_answer_since_mark(time);
}
bool Verifier::check(std::chrono::milliseconds timeout) {
    return engine_->check(timeout, false);
}
bool Verifier::final_check(std::chrono::milliseconds timeout) {
    return engine_->check(timeout, true);
}

}  // namespace understudy::tools
