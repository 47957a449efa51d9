#include "hypervisor/replication/replica/replica_driver.hpp"

#include <boost/asio/post.hpp>
#include <csignal>

#include "hypervisor/machine/cpuid_table.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

constexpr auto kLagInterval = 200ms;
constexpr auto kComparedInterval = 1s;

ReplicaLimits limits_of(const ReplicaConfig& config) {
    ReplicaLimits limits;
    limits.suspicion = config.suspicion;
    return limits;
}

}  // namespace

ReplicaDriver::ReplicaDriver(const ReplicaConfig& config, VmId vm, std::unique_ptr<machine::Machine> machine,
                             RoleMachine roles, boost::asio::io_context& io)
    : config_(config),
      vm_(std::move(vm)),
      io_(io),
      machine_(std::move(machine)),
      arbiter_(arbiter::connect(io, config.arbiter)),
      last_words_(io),
      ticks_(io, Recorder::kOverdueInterval, [this] { tick(); }),
      signals_(io, SIGINT, SIGTERM),
      core_(*this, std::move(roles), limits_of(config)),
      outbox_([this] { boost::asio::post(io_, [this] { drain(); }); }),
      live_sink_(outbox_, brake_) {
    channel::ListenerConfig listener;
    listener.address = config_.listen_address;
    listener.port = config_.listen_port;
    listener.vm = vm_;
    listener.replica = config_.id;
    listener.engine = machine_->engine_name();
    listener.cpu_table_digest = machine::cpuid_table_digest();
    listener_ = std::make_unique<channel::Listener>(
        io_, listener,
        channel::Listener::Handlers{[this](std::unique_ptr<channel::Connection> connection,
                                           const channel::Hello& hello) { candidate(std::move(connection), hello); },
                                    [this](const std::string& line) {
                                        if (config_.observer.on_warning) {
                                            config_.observer.on_warning(line);
                                        }
                                    }});
    if (config_.observer.on_listening) {
        config_.observer.on_listening(fmt::format("{}:{}", config_.listen_address, listener_->port()));
    }
}

ReplicaDriver::~ReplicaDriver() {
    end_vcpu();
}

void ReplicaDriver::start_vcpu(Voice voice) {
    vcpu_running_ = true;
    vcpu_ = std::thread([this, voice] {
        try {
            loop_ = run_loop(*machine_, voice, [this] { return next_voice(); });
        } catch (...) {
            failure_ = std::current_exception();
        }
        boost::asio::post(io_, [this] { vcpu_ended(); });
    });
}

// On the vCPU's thread, when the log has ended: a recorder takes the replayer's place if this replica goes live.
Voice ReplicaDriver::next_voice() {
    if (!replayer_ || recorder_) {
        return {};
    }
    recorder_ = std::make_unique<Recorder>(queue_, config_.recorder, machine_->clock());
    boost::asio::post(io_, [this] {
        drain();
        core_.log_drained();
    });
    return successor_.get_future().get();
}

void ReplicaDriver::vcpu_ended() {
    vcpu_running_ = false;
    drain();
    if (failure_) {
        io_.stop();
        return;
    }
    if (loop_.ending == Ending::exit || loop_.ending == Ending::fault) {
        core_.guest_over();
    }
}

bool ReplicaDriver::diverged() const {
    try {
        if (failure_) {
            std::rethrow_exception(failure_);
        }
    } catch (const Divergence&) {
        return true;
    } catch (...) {
        return false;
    }
    return false;
}

void ReplicaDriver::end_vcpu() {
    if (!vcpu_.joinable()) {
        return;
    }
    machine_->abandon();
    feed_.abandon();
    outbox_.release();
    brake_.set(false);
    queue_.poke();
    if (replayer_ && !voice_promised_) {
        voice_promised_ = true;
        successor_.set_value({});
    }
    vcpu_.join();
}

void ReplicaDriver::tick() {
    retired_.reset();
    if (Recorder* recorder = running_recorder_; recorder != nullptr && recorder->overdue()) {
        machine_->kick();
    }
    if (core_.follows() && peer_) {
        drain();
        peer_->flush();
    }
    if (peer_) {
        peer_->tick();
    }
    core_.tick();
    report_progress_to_user();
}

void ReplicaDriver::report_progress_to_user() {
    if (core_.roles().role() != Role::following) {
        return;
    }
    const auto now = Clock::now();
    if (now >= next_lag_ && config_.observer.on_lag) {
        next_lag_ = now + kLagInterval;
        const ReplicaCore::Lag lag = core_.lag();
        config_.observer.on_lag(lag.records, lag.time);
    }
    if (now >= next_compared_ && config_.observer.on_compared) {
        next_compared_ = now + kComparedInterval;
        config_.observer.on_compared(core_.compared(), 0);
    }
}

void ReplicaDriver::make_live_io(network::LinkConfig link) {
    link.vm = vm_;
    const auto kick = [this] {
        if (const Recorder* recorder = running_recorder_; recorder != nullptr && recorder->guest_runs()) {
            machine_->kick();
        }
    };
    const auto print = [this](std::string_view text) {
        if (config_.observer.on_console) {
            config_.observer.on_console(text);
        }
    };
    live_ = std::make_unique<LiveIo>(io_, queue_, link, LiveIo::Handlers{kick, print});
}

void ReplicaDriver::lead() {
    make_live_io(config_.link);
    core_.start();
}

void ReplicaDriver::follow(channel::Joined joined) {
    peer_ = std::move(joined.connection);
    core_.start();
    attend_primary();
}

ReplicaResult ReplicaDriver::run() {
    signals_.async_wait([this](const boost::system::error_code& error, int /*signal*/) {
        if (!error) {
            result_ = ReplicaResult{};
            result_->interrupted = true;
            result_->explanation = "interrupted; the other replica, if there is one, goes on";
            io_.stop();
        }
    });
    io_.run();
    if (peer_) {
        peer_->close();
    }
    end_vcpu();  // what its thread leaves behind may be read from here on
    if (config_.observer.on_compared && replayer_) {
        const std::uint64_t divergences = diverged() ? 1 : 0;
        config_.observer.on_compared(core_.compared() + divergences, divergences);
    }
    if (failure_) {
        std::rethrow_exception(failure_);
    }
    ReplicaResult result = result_.value_or(ReplicaResult{});
    if (loop_.ending == Ending::exit) {
        result.exit_status = static_cast<int>(loop_.last.stop.argument);
    } else if (loop_.ending == Ending::fault) {
        result.fault_report = machine_->fault_report().text();
    }
    return result;
}

}  // namespace understudy::replication
