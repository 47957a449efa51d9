#include "hypervisor/replication/replica_driver.hpp"

#include <boost/asio/post.hpp>
#include <csignal>

#include "hypervisor/machine/cpuid_table.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

constexpr auto kLagInterval = 200ms;
constexpr auto kComparedInterval = 1s;

}  // namespace

ReplicaDriver::ReplicaDriver(const ReplicaConfig& config, VmId vm, std::unique_ptr<machine::Machine> machine,
                             RoleMachine roles, boost::asio::io_context& io)
    : config_(config),
      vm_(std::move(vm)),
      io_(io),
      machine_(std::move(machine)),
      roles_(std::move(roles)),
      arbiter_(arbiter::connect(io, config.arbiter)),
      last_words_(io),
      ticks_(io, Recorder::kOverdueInterval, [this] { tick(); }),
      signals_(io, SIGINT, SIGTERM),
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

void ReplicaDriver::feed(const Event& event) {
    if (result_) {
        return;
    }
    for (const Action& action : roles_.handle(event)) {
        std::visit([this](const auto& a) { perform(a); }, action);
    }
    if (roles_.role() != shown_role_) {
        shown_role_ = roles_.role();
        listener_->set_generation(roles_.generation());
        if (config_.observer.on_role) {
            config_.observer.on_role(shown_role_, roles_.generation(), reason_);
        }
        reason_.clear();
    }
}

arbiter::Client::Callback ReplicaDriver::answer_for(std::uint64_t ticket) {
    return [this, ticket](arbiter::Outcome outcome) {
        reason_ = outcome.explanation;
        feed(event::ArbiterAnswered{ticket, std::move(outcome)});
    };
}

void ReplicaDriver::start_vcpu(Voice voice) {
    vcpu_running_ = true;
    vcpu_ = std::thread([this, voice] {
        try {
            loop_ = run_loop(*machine_, voice, [this] { return succeed(); });
        } catch (...) {
            failure_ = std::current_exception();
        }
        boost::asio::post(io_, [this] { vcpu_ended(); });
    });
}

// On the vCPU's thread, when the log has ended: a recorder takes the replayer's place if this replica goes live.
Voice ReplicaDriver::succeed() {
    if (!replayer_ || recorder_) {
        return {};
    }
    recorder_ = std::make_unique<Recorder>(queue_, config_.recorder, machine_->clock());
    boost::asio::post(io_, [this] {
        drain();
        gate_ = OutputGate(backlog_ ? backlog_->replayed_up_to() : StopNumber{});
        feed(event::LogDrained{});
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
        guest_over_ = true;
        if (roles_.role() == Role::going_live) {
            feed(event::LogDrained{});
        }
        end_guest_if_over();
    }
}

// What everybody said last has left, or the primary said that it has.
void ReplicaDriver::end_guest_if_over() {
    const bool speaks = !replayer_ || succeeded_;
    if (guest_over_ && !vcpu_running_ && speaks && gate_.held().value == 0) {
        feed(event::GuestEnded{});
    }
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
    if (replayer_ && !succeeded_) {
        succeeded_ = true;
        successor_.set_value({});
    }
    vcpu_.join();
}

void ReplicaDriver::tick() {
    retired_.reset();
    if (result_) {
        return;
    }
    if (Recorder* recorder = running_recorder_; recorder != nullptr && recorder->overdue()) {
        machine_->kick();
    }
    if (follows() && peer_) {
        drain();
        peer_->flush();
    }
    if (suspicion_ && suspicion_->tick(steady_now())) {
        lose_peer("nothing was heard from it for too long");
    }
    feed(event::Tick{steady_now()});
    end_guest_if_over();
    report_progress();
}

void ReplicaDriver::report_progress() {
    if (roles_.role() != Role::following) {
        return;
    }
    const auto now = Clock::now();
    if (now >= next_lag_ && config_.observer.on_lag) {
        next_lag_ = now + kLagInterval;
        config_.observer.on_lag(backlog_->records(), std::max(received_clock_ - replayed_clock_, GuestTime{0}));
    }
    if (now >= next_compared_ && config_.observer.on_compared) {
        next_compared_ = now + kComparedInterval;
        config_.observer.on_compared(compared_);
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
    live_ = std::make_unique<LiveIo>(io_, queue_, std::move(link), LiveIo::Handlers{kick, print});
}

void ReplicaDriver::lead() {
    make_live_io(config_.link);
    feed(event::Started{});
}

void ReplicaDriver::follow(channel::Joined joined) {
    peer_ = std::move(joined.connection);
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
    if (config_.observer.on_compared && replayer_) {
        config_.observer.on_compared(compared_);
    }
    if (peer_) {
        peer_->close();
    }
    end_vcpu();
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
