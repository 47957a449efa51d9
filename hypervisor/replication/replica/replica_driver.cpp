#include "hypervisor/replication/replica/replica_driver.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <filesystem>

#include "common/ending_signals.hpp"
#include "hypervisor/machine/cpuid_table.hpp"
#include "logging_channel/log_file.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

constexpr auto kLagInterval = 200ms;
constexpr auto kComparedInterval = 1s;
constexpr auto kLogInterval = 1s;
constexpr auto kStopPatience = 10s;
constexpr auto kStandstill = 2s;  // less than the primary waits

// One copy may be all of the guest's memory, which the backup compares with its own and takes over.
std::chrono::nanoseconds time_to_take_over(Bytes memory) {
    return memory.value * 1000ms / (1024_MiB).value;
}

ReplicaLimits limits_of(const ReplicaConfig& config, Bytes memory) {
    ReplicaLimits limits;
    limits.suspicion = config.suspicion;
    limits.stall += time_to_take_over(memory);
    return limits;
}

}  // namespace

ReplicaDriver::ReplicaDriver(const ReplicaConfig& config, VmId vm, std::unique_ptr<machine::Machine> machine,
                             RoleMachine roles, boost::asio::io_context& io)
    : config_(config),
      vm_(std::move(vm)),
      vcpu_(std::move(machine), config.recorder,
            {config.on_guest_thread, [this] { log_drained(); }, [this] { vcpu_ended(); }}),
      io_(io),
      arbiter_(arbiter::connect(io, config.arbiter)),
      last_words_(io),
      ticks_(io, Recorder::kOverdueInterval, [this] { tick(); }),
      signals_(io),
      core_(*this, std::move(roles), limits_of(config, vcpu_.machine().memory().size())),
      outbox_([this] { boost::asio::post(io_, [this] { drain(); }); }),
      intake_(outbox_),
      following_sink_(outbox_),
      live_sink_(outbox_, brake_) {
    for (const int signal : ending_signals()) {
        signals_.add(signal);
    }
    channel::ListenerConfig listener;
    listener.address = config_.listen_address;
    listener.port = config_.listen_port;
    listener.options.tls = config_.tls;
    listener.vm = vm_;
    listener.replica = config_.id;
    listener.engine = vcpu_.machine().engine_name();
    listener.cpu_table_digest = machine::cpuid_table_digest();
    listener_ = std::make_unique<channel::Listener>(
        io_, listener,
        channel::Listener::Handlers{[this](std::unique_ptr<channel::Connection> connection,
                                           const channel::Hello& hello) { candidate(std::move(connection), hello); },
                                    [this](const std::string& line) { warn(line); }});
    if (config_.observer.on_listening) {
        config_.observer.on_listening(fmt::format("{}:{}", config_.listen_address, listener_->port()));
    }
}

ReplicaDriver::~ReplicaDriver() {
    end_vcpu();
}

void ReplicaDriver::log_drained() {
    boost::asio::post(io_, [this] {
        drain(Patience::none);
        core_.log_drained();
    });
}

void ReplicaDriver::vcpu_ended() {
    boost::asio::post(io_, [this] {
        drain(Patience::none);
        if (vcpu_.failure()) {
            io_.stop();
            return;
        }
        const LoopResult& loop = vcpu_.result();
        if (loop.ending != Ending::exit && loop.ending != Ending::fault) {
            return;
        }
        guest_end_.exit_status = loop.ending == Ending::exit ? loop.last.stop.argument : 0;
        guest_end_.fault_report = loop.ending == Ending::fault ? vcpu_.machine().fault_report().text() : "";
        core_.guest_over();
    });
}

// Whatever could hold the vCPU's thread lets it go.
void ReplicaDriver::end_vcpu() {
    feed_.abandon();
    outbox_.release();
    brake_.set(false);
    vcpu_.end();
}

std::optional<std::string> ReplicaDriver::failure() const {
    if (stands_still_) {
        return fmt::format("the guest does not come to the stop of record {}", core_.replayed_up_to().next().value);
    }
    try {
        if (vcpu_.failure()) {
            std::rethrow_exception(vcpu_.failure());
        }
    } catch (const std::exception& error) {
        return error.what();
    }
    return std::nullopt;
}

// By what the vCPU has had of a processor: on a busy host an interval takes whatever it takes. A guest that is
// different may never come to where its log says; the primary would wait for it in vain.
void ReplicaDriver::notice_standstill() {
    const bool progress = core_.compared() != std::exchange(compared_before_, core_.compared());
    if (core_.roles().role() != Role::following || progress || core_.lag().records == 0) {
        replayed_at_ = vcpu_.processor_time();
    } else if (vcpu_.processor_time() - replayed_at_ >
               kStandstill + time_to_take_over(vcpu_.machine().memory().size())) {
        stands_still_ = true;
        io_.stop();
    }
}

std::filesystem::path ReplicaDriver::file_for_state(const std::string& whose, StopNumber stop) const {
    std::string name = fmt::format("{}-stop-{}-{}.log", vm_, stop.value, whose);
    std::ranges::replace(name, '/', '_');
    return std::filesystem::path(config_.keep_diverged) / name;
}

channel::LogHeader ReplicaDriver::header_for_state(const std::string& whose, StopNumber stop) {
    const machine::Machine& machine = vcpu_.machine();
    channel::LogHeader header;
    header.vm = vm_;
    header.engine = machine.engine_name();
    header.cpu_table_digest = machine::cpuid_table_digest();
    header.guest = machine.shape();
    header.base = {stop, machine.count(), machine.clock()};
    header.recorder = fmt::format("understudy {}, {} of a pair that differed", UNDERSTUDY_VERSION, whose);
    return header;
}

// What this replica has come to, differing; nobody waits for it.
void ReplicaDriver::keep_own_state() {
    const std::string whose = "backup";
    const StopNumber stop = core_.replayed_up_to().next();
    try {
        keep_state(file_for_state(whose, stop), header_for_state(whose, stop),
                   std::make_unique<channel::QuietMemory>(vcpu_.machine().memory().all()), vcpu_.machine().save_vcpu());
    } catch (const Error& error) {
        warn(error.what());
    }
}

// What it begins anew with. The guest, and with it the primary, is waited for as short as can be.
void ReplicaDriver::prepare_to_keep_state_of_primary(StopNumber stop, const std::vector<std::byte>& vcpu_state) {
    const std::string whose = "primary";
    try {
        keeper_.emplace(file_for_state(whose, stop), header_for_state(whose, stop),
                        memory::prepare_snapshot(vcpu_.machine().memory(), config_.snapshot), vcpu_state);
    } catch (const Error& error) {
        warn(error.what());
    }
}

void ReplicaDriver::finish_keeping() {
    try {
        keeper_->finish();
    } catch (const Error& error) {
        warn(error.what());
    }
    keeper_.reset();
}

void ReplicaDriver::warn(const std::string& line) {
    if (config_.observer.on_warning) {
        config_.observer.on_warning(line);
    }
}

void ReplicaDriver::tick() {
    retired_.reset();
    vcpu_.kick_if_overdue();
    if (!intake_.empty()) {
        drain();
    }
    if (core_.follows() && peer_) {
        drain();
        peer_->flush();
    }
    if (peer_) {
        peer_->tick();
    }
    if (may_follow_) {
        begin_to_follow();
    } else if (keeper_ && keeper_->over()) {
        finish_keeping();
    }
    core_.tick();
    if (const auto due = core_.suspicion_due()) {
        ticks_.not_after(Clock::time_point(*due));
    }
    notice_standstill();
    bring_guest_to_stop();
    report_progress_to_user();
}

// For the state that a backup waits for. Not every guest can be interrupted anywhere.
void ReplicaDriver::bring_guest_to_stop() {
    if (!live_sink_.wants_stop()) {
        stop_wanted_since_.reset();
        return;
    }
    vcpu_.stop_soon();
    if (!stop_wanted_since_) {
        stop_wanted_since_ = Clock::now();
    } else if (Clock::now() - *stop_wanted_since_ > kStopPatience) {
        stop_wanted_since_.reset();
        core_.peer_lost(
            fmt::format("the guest has come to no stop for {} s, at which a backup could have its state: "
                        "it computes where it cannot be interrupted",
                        kStopPatience.count()));
    }
}

void ReplicaDriver::report_progress_to_user() {
    if (core_.roles().role() == Role::leading) {
        report_log_to_user();
    }
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

void ReplicaDriver::begin_log_figures() {
    log_figures_ = {};
    written_before_log_ = peer_->written();
    outbox_waited_before_log_ = outbox_.waited();
    next_log_figures_ = Clock::now() + kLogInterval;
}

void ReplicaDriver::report_log_to_user() {
    const auto now = Clock::now();
    if (now < next_log_figures_ || !peer_ || !config_.observer.on_log) {
        return;
    }
    next_log_figures_ = now + kLogInterval;
    LogFigures figures = log_figures_;
    figures.sent = {peer_->written().value - written_before_log_.value};
    figures.guest_waited += outbox_.waited() - outbox_waited_before_log_;
    figures.guest_waited += held_since_ ? now - *held_since_ : Clock::duration(0);
    config_.observer.on_log(figures);
}

void ReplicaDriver::make_live_io(network::LinkConfig link) {
    link.vm = vm_;
    link.format = vcpu_.machine().frame_format();
    const auto kick = [this] { vcpu_.kick_if_running(); };
    const auto print = [this](std::string_view text) {
        if (config_.observer.on_console) {
            config_.observer.on_console(text);
        }
    };
    live_ = std::make_unique<LiveIo>(
        io_, vcpu_.input(), link, config_.console,
        LiveIo::Handlers{kick, print, [this] { interrupt(); }, [this](const std::string& line) { warn(line); }});
}

void ReplicaDriver::lead() {
    make_live_io(config_.link);
    core_.start();
}

void ReplicaDriver::follow(channel::Joined joined, bool again) {
    joined_again_ = again;
    peer_ = std::move(joined.connection);
    core_.start();
    attend_primary();
}

void ReplicaDriver::interrupt() {
    result_ = ReplicaResult{};
    result_->interrupted = true;
    result_->explanation = "interrupted; the other replica, if there is one, goes on";
    io_.stop();
}

ReplicaResult ReplicaDriver::run() {
    signals_.async_wait([this](const boost::system::error_code& error, int /*signal*/) {
        if (!error) {
            interrupt();
        }
    });
    io_.run();
    if (peer_) {
        peer_->close();
    }
    live_sink_.end_transfer();
    end_vcpu();  // what its thread leaves behind may be read from here on
    const auto why = failure();
    const bool differs = why && core_.follows();  // what fails of a guest that lives is no difference
    if (config_.observer.on_compared && vcpu_.followed()) {
        const std::uint64_t divergences = differs ? 1 : 0;
        config_.observer.on_compared(core_.compared() + divergences, divergences);
    }
    if (differs && !config_.keep_diverged.empty()) {
        keep_own_state();
    }
    if (keeper_ && !may_follow_) {
        if (result_ && result_->interrupted) {
            keeper_->give_up();
        }
        finish_keeping();
    }
    if (why && core_.roles().role() == Role::following) {
        throw CannotFollow(*why);
    }
    if (why) {
        throw Error(*why);
    }
    return result_.value_or(ReplicaResult{});
}

}  // namespace understudy::replication
