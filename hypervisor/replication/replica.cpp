#include "hypervisor/replication/replica.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <exception>
#include <future>
#include <map>
#include <optional>
#include <thread>

#include "arbiter/client.hpp"
#include "hypervisor/engine/kvm/kvm_engine.hpp"
#include "hypervisor/machine/cpuid_table.hpp"
#include "hypervisor/replication/handover.hpp"
#include "hypervisor/replication/live_io.hpp"
#include "hypervisor/replication/log_window.hpp"
#include "hypervisor/replication/loop.hpp"
#include "hypervisor/replication/output_gate.hpp"
#include "hypervisor/replication/replayer.hpp"
#include "hypervisor/replication/replica_sinks.hpp"
#include "hypervisor/replication/suspicion_timer.hpp"
#include "logging_channel/channel.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kQueuedFrames = 2048;
constexpr auto kTick = 10ms;
constexpr auto kLagInterval = 200ms;
constexpr auto kComparedInterval = 1s;
constexpr auto kArbiterTimeout = 1000ms;
constexpr Bytes kMaxHeldOutputs = 32_MiB;
// Until the backup is in place neither side is silent for long on purpose, but both are busy with much memory; nothing
// waits for them yet.
constexpr auto kTransferSuspicion = 3s;
constexpr auto kLastWords = 100ms;  // for what is still queued when a replica ends

std::chrono::nanoseconds since_epoch() {
    return Clock::now().time_since_epoch();
}

}  // namespace

ReplicaId make_replica_id() {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    std::uint32_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random) {
        throw Error("getrandom gives no bytes");
    }
    return fmt::format("{}/{}/{:08x}", host.data(), ::getpid(), random);
}

namespace {

class Replica {
  public:
    Replica(const ReplicaConfig& config, VmId vm, std::unique_ptr<machine::Machine> machine, RoleMachine roles,
            boost::asio::io_context& io);
    ~Replica();
    Replica(const Replica&) = delete;
    Replica& operator=(const Replica&) = delete;

    void lead();
    void follow(channel::Joined joined);
    [[nodiscard]] ReplicaResult run();

  private:
    // Roles and their actions.
    void feed(const Event& event);
    void perform(const action::Form& a);
    void perform(const action::TestAndSet& a);
    void perform(const action::StartGuest& a);
    void perform(const action::StartTransfer& a);
    void perform(const action::RefusePeer& a);
    void perform(const action::CloseGate& a);
    void perform(const action::OpenGate& a);
    void perform(const action::TellFormed& a);
    void perform(const action::StopAcknowledging& a);
    void perform(const action::DropPeer& a);
    void perform(const action::GoLive& a);
    void perform(const action::Speak& a);
    void perform(const action::Terminate& a);

    // The vCPU's thread.
    void start_vcpu(Voice voice);
    Voice succeed();
    void vcpu_ended();
    void end_vcpu();

    // What the vCPU's thread hands over.
    void drain();
    void take(Snapshot& snapshot);
    void take(Recorded& recorded);
    void take(Replayed& replayed);
    void release(const std::vector<Output>& outputs);
    void update_brake();

    // The peer.
    void candidate(std::unique_ptr<channel::Connection> connection, const channel::Hello& hello);
    void attend_backup();
    void attend_primary();
    void report_from_backup(const channel::Report& report);
    void records_from_primary(std::vector<channel::ReceivedRecord> records);
    void state_from_primary(const std::vector<std::byte>& vcpu_state);
    void lose_peer(const std::string& why);
    void heard() {
        if (suspicion_) {
            suspicion_->heard(since_epoch());
        }
    }

    // Time.
    void tick();
    void report_progress();
    void end_guest_if_over();
    void make_live_io(network::LinkConfig link);
    arbiter::Client::Callback answer_for(std::uint64_t ticket);

    const ReplicaConfig config_;
    const VmId vm_;
    boost::asio::io_context& io_;
    std::unique_ptr<machine::Machine> machine_;
    RoleMachine roles_;
    Role shown_role_ = Role::terminated;
    std::string reason_;  // for the next role shown
    std::unique_ptr<arbiter::Client> arbiter_;
    std::unique_ptr<channel::Listener> listener_;
    std::unique_ptr<LiveIo> live_;
    boost::asio::steady_timer timer_;
    boost::asio::signal_set signals_;
    std::optional<ReplicaResult> result_;

    // The peer, and those who want to be.
    std::map<ReplicaId, std::unique_ptr<channel::Connection>> candidates_;
    std::unique_ptr<channel::Connection> peer_;
    std::unique_ptr<channel::Connection> retired_;  // closed from within one of its own handlers
    std::optional<SuspicionTimer> suspicion_;
    Clock::time_point lost_at_;

    // As the one who speaks.
    OutputGate gate_;
    std::optional<LogWindow> window_;  // a backup's log is under way
    bool wants_snapshot_ = false;

    // As the one who follows.
    OutputRetention retention_;
    std::optional<ReplayBacklog> backlog_;
    GuestTime received_clock_{0};
    GuestTime replayed_clock_{0};
    std::uint64_t compared_ = 0;
    Clock::time_point next_lag_;
    Clock::time_point next_compared_;

    // The vCPU's thread.
    Outbox outbox_;
    Brake brake_;
    InputQueue queue_{kQueuedFrames};
    ChannelFeed feed_;
    std::unique_ptr<Replayer> replayer_;
    std::unique_ptr<FollowingSink> following_sink_;
    LiveSink live_sink_;
    std::unique_ptr<Recorder> recorder_;
    std::atomic<Recorder*> running_recorder_{nullptr};  // for kicks
    std::promise<Voice> successor_;
    bool succeeded_ = false;
    std::thread vcpu_;
    bool vcpu_running_ = false;
    LoopResult loop_;
    std::exception_ptr failure_;
    bool guest_over_ = false;  // the loop ended with the program, or the primary said so
};

Replica::Replica(const ReplicaConfig& config, VmId vm, std::unique_ptr<machine::Machine> machine, RoleMachine roles,
                 boost::asio::io_context& io)
    : config_(config),
      vm_(std::move(vm)),
      io_(io),
      machine_(std::move(machine)),
      roles_(std::move(roles)),
      arbiter_(arbiter::connect(io, config.arbiter)),
      timer_(io),
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

Replica::~Replica() {
    end_vcpu();
}

// --- Roles
// ------------------------------------------------------------------------------------------------------------

void Replica::feed(const Event& event) {
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

arbiter::Client::Callback Replica::answer_for(std::uint64_t ticket) {
    return [this, ticket](arbiter::Outcome outcome) {
        reason_ = outcome.explanation;
        feed(event::ArbiterAnswered{ticket, std::move(outcome)});
    };
}

void Replica::perform(const action::Form& a) {
    arbiter_->form(a.request, kArbiterTimeout, answer_for(a.ticket));
}

void Replica::perform(const action::TestAndSet& a) {
    arbiter_->test_and_set(a.request, kArbiterTimeout, answer_for(a.ticket));
}

void Replica::perform(const action::StartGuest& /*a*/) {
    recorder_ = std::make_unique<Recorder>(queue_, config_.recorder, GuestTime{0});
    running_recorder_ = recorder_.get();
    start_vcpu({recorder_.get(), &live_sink_});
}

void Replica::perform(const action::StartTransfer& a) {
    peer_ = std::move(candidates_.at(a.peer));
    candidates_.erase(a.peer);
    peer_->welcome({config_.id, a.generation, machine_->memory().size(), {}});
    attend_backup();
    wants_snapshot_ = true;
    live_sink_.request_snapshot();
    queue_.poke();
    machine_->kick();
}

void Replica::perform(const action::RefusePeer& a) {
    if (const auto found = candidates_.find(a.peer); found != candidates_.end()) {
        found->second->refuse(a.why);
        candidates_.erase(found);
    }
}

void Replica::perform(const action::CloseGate& a) {
    const StopNumber last = gate_.close();
    boost::asio::post(io_, [this, peer = a.peer, last] { feed(event::GateClosed{peer, last}); });
}

void Replica::perform(const action::OpenGate& /*a*/) {
    release(gate_.open());
    update_brake();
}

void Replica::perform(const action::TellFormed& /*a*/) {
    peer_->send_formed();
}

void Replica::perform(const action::StopAcknowledging& /*a*/) {
    if (peer_) {
        peer_->stop_acknowledging();
    }
}

void Replica::perform(const action::DropPeer& /*a*/) {
    if (peer_) {
        peer_->close();
        retired_ = std::move(peer_);
    }
    suspicion_.reset();
    window_.reset();
    wants_snapshot_ = false;
    update_brake();
}

void Replica::perform(const action::GoLive& /*a*/) {
    feed_.close();
    if (!vcpu_running_) {  // the guest has ended already: nothing will ask for a successor
        boost::asio::post(io_, [this] { feed(event::LogDrained{}); });
    }
}

// Going live ends here: the role machine lets this replica speak, and says again what may not have been heard.
void Replica::perform(const action::Speak& a) {
    live_->speak(a.rank);
    if (replayer_ && !succeeded_) {
        succeeded_ = true;
        release(retention_.go_live());
        if (vcpu_running_) {
            running_recorder_ = recorder_.get();
            successor_.set_value({recorder_.get(), &live_sink_});
        }
        if (config_.observer.on_live) {
            config_.observer.on_live(a.rank.generation, Clock::now() - lost_at_);
        }
    }
}

void Replica::perform(const action::Terminate& a) {
    result_ = ReplicaResult{a.reason, a.explanation, false, 0, {}};
    reason_ = a.explanation;
    if (peer_ && a.reason == action::Terminate::Reason::guest_ended) {
        peer_->send_goodbye(a.explanation);  // a backup takes it for the guest's end, and nothing else
        peer_->finish();
    } else if (peer_) {
        peer_->close();
    }
    timer_.expires_after(kLastWords);
    timer_.async_wait([this](const boost::system::error_code& /*error*/) { io_.stop(); });
}

// --- The vCPU's thread
// --------------------------------------------------------------------------------------------------

void Replica::start_vcpu(Voice voice) {
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
Voice Replica::succeed() {
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

void Replica::vcpu_ended() {
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
void Replica::end_guest_if_over() {
    const bool speaks = !replayer_ || succeeded_;
    if (guest_over_ && !vcpu_running_ && speaks && gate_.held().value == 0) {
        feed(event::GuestEnded{});
    }
}

void Replica::end_vcpu() {
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

// --- What the vCPU's thread hands over
// ----------------------------------------------------------------------------------

void Replica::drain() {
    for (Handover& item : outbox_.take()) {
        std::visit([this](auto& handed) { take(handed); }, item);
    }
    if (window_ && peer_) {
        peer_->set_released(gate_.released_up_to());
        peer_->flush();
    }
    if (backlog_ && peer_) {
        peer_->acknowledge(backlog_->received_up_to(), backlog_->replayed_up_to());
    }
    update_brake();
}

void Replica::take(Snapshot& snapshot) {
    if (!wants_snapshot_ || !peer_) {
        return;
    }
    wants_snapshot_ = false;
    window_.emplace(snapshot.base.stop);
    const std::span<const std::byte> memory = *snapshot.memory;
    peer_->send_state(snapshot.base, memory, snapshot.memory, std::move(snapshot.vcpu_state),
                      [this](const channel::StateProgress& progress) {
                          if (config_.observer.on_transfer) {
                              config_.observer.on_transfer(progress.done, progress.total);
                          }
                      });
}

void Replica::take(Recorded& recorded) {
    const Record& record = recorded.record;
    if (!recorded.completes_mark) {
        release(gate_.take(record.stop.number, std::move(recorded.outputs)));
    }
    if (window_ && peer_) {
        const Bytes size = peer_->send_record(record);
        window_->sent(record.stop.number, record.input.clock, size, record.mark);
    }
}

void Replica::take(Replayed& replayed) {
    backlog_->replayed();
    ++compared_;
    replayed_clock_ = replayed.clock;
    retention_.keep(replayed.stop, std::move(replayed.outputs));
}

void Replica::release(const std::vector<Output>& outputs) {
    if (!outputs.empty()) {
        live_->release(outputs);
    }
}

void Replica::update_brake() {
    brake_.set(!result_ && ((window_ && !window_->may_proceed()) || gate_.held() > kMaxHeldOutputs));
}

// --- The peer
// -----------------------------------------------------------------------------------------------------------

void Replica::candidate(std::unique_ptr<channel::Connection> connection, const channel::Hello& hello) {
    candidates_[hello.replica] = std::move(connection);
    reason_ = fmt::format("{} joins", hello.replica);
    feed(event::BackupConnected{hello.replica});
    if (const auto left = candidates_.find(hello.replica); left != candidates_.end()) {
        left->second->refuse(fmt::format("this replica is {}; join the VM's primary", name(roles_.role())));
        candidates_.erase(left);
    }
}

void Replica::attend_backup() {
    suspicion_.emplace(since_epoch(), kTransferSuspicion);
    channel::Connection::Handlers handlers;
    handlers.on_heard = [this] { heard(); };
    handlers.on_ready = [this] {
        if (const auto peer = roles_.peer()) {
            suspicion_.emplace(since_epoch(), config_.suspicion);
            feed(event::BackupReady{*peer});
        }
    };
    handlers.on_report = [this](const channel::Report& report) { report_from_backup(report); };
    handlers.on_goodbye = [this](const std::string& why) { lose_peer("it said goodbye: " + why); };
    handlers.on_closed = [this](const std::string& why) { lose_peer(why); };
    peer_->start(std::move(handlers));
}

void Replica::attend_primary() {
    suspicion_.emplace(since_epoch(), kTransferSuspicion);
    channel::Connection::Handlers handlers;
    handlers.on_heard = [this] { heard(); };
    handlers.on_report = [this](const channel::Report& report) { retention_.released(report.released); };
    handlers.on_goodbye = [this](const std::string& why) {
        reason_ = why;
        feed(event::GuestEnded{});
        if (!result_) {
            lose_peer("it said goodbye: " + why);
        }
    };
    handlers.on_progress = [this](const channel::StateProgress& progress) {
        if (config_.observer.on_transfer) {
            config_.observer.on_transfer(progress.done, progress.total);
        }
    };
    handlers.on_state = [this](channel::LogBase base, const std::vector<std::byte>& vcpu_state) {
        backlog_.emplace(base.stop);
        received_clock_ = replayed_clock_ = base.clock;
        state_from_primary(vcpu_state);
    };
    handlers.on_records = [this](std::vector<channel::ReceivedRecord> records) {
        records_from_primary(std::move(records));
    };
    handlers.on_formed = [this] {
        feed(event::PairFormed{});
        if (config_.observer.on_role) {
            config_.observer.on_role(roles_.role(), roles_.generation(), "the pair is formed");
        }
    };
    handlers.on_closed = [this](const std::string& why) { lose_peer(why); };
    peer_->receive_state(machine_->blank_memory());
    peer_->start(std::move(handlers));
}

void Replica::state_from_primary(const std::vector<std::byte>& vcpu_state) {
    machine_->restore_vcpu(vcpu_state);
    const auto boot = machine_->memory().at<abi::Boot>({abi::kBootBase});
    network::LinkConfig link = config_.link;
    std::copy(std::begin(boot.mac), std::end(boot.mac), link.mac.begin());
    link.ipv4_address = boot.ipv4_address;
    make_live_io(std::move(link));
    replayer_ = std::make_unique<Replayer>(feed_);
    following_sink_ = std::make_unique<FollowingSink>(outbox_);
    feed(event::StateReceived{});
    start_vcpu({replayer_.get(), following_sink_.get()});
    peer_->send_ready();
    suspicion_.emplace(since_epoch(), config_.suspicion);
}

void Replica::records_from_primary(std::vector<channel::ReceivedRecord> records) {
    for (channel::ReceivedRecord& received : records) {
        const Record& record = received.record;
        if (backlog_->receive(record.stop.number, received.size, record.mark) != ReplayBacklog::Verdict::accepted) {
            lose_peer("its log is out of order or overruns this replica's memory");
            return;
        }
        if (!record.mark) {
            received_clock_ = record.input.clock;
        }
        feed_.push(std::move(received.record));
    }
    if (roles_.may_acknowledge()) {
        peer_->acknowledge(backlog_->received_up_to(), backlog_->replayed_up_to());
    }
}

void Replica::report_from_backup(const channel::Report& report) {
    const auto peer = roles_.peer();
    if (!window_ || !peer) {
        return;
    }
    if (!window_->report(report.received, report.replayed)) {
        lose_peer("it acknowledges what was never sent");
        return;
    }
    release(gate_.acknowledge(report.received));
    feed(event::Acknowledged{*peer, report.received});
    if (peer_) {
        peer_->set_released(gate_.released_up_to());
    }
    update_brake();
    end_guest_if_over();
}

void Replica::lose_peer(const std::string& why) {
    const auto peer = roles_.peer();
    if (!peer || !peer_) {
        return;
    }
    lost_at_ = Clock::now();
    reason_ = why;
    feed(event::PeerLost{*peer, why});
}

// --- Time
// ---------------------------------------------------------------------------------------------------------------

void Replica::tick() {
    retired_.reset();
    if (suspicion_ && suspicion_->tick(since_epoch())) {
        lose_peer("nothing was heard from it for too long");
    }
    feed(event::Tick{since_epoch()});
    end_guest_if_over();
    report_progress();
    if (!result_) {
        timer_.expires_after(kTick);
        timer_.async_wait([this](const boost::system::error_code& error) {
            if (!error) {
                tick();
            }
        });
    }
}

void Replica::report_progress() {
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

void Replica::make_live_io(network::LinkConfig link) {
    link.vm = vm_;
    const auto kick = [this] {
        if (const Recorder* recorder = running_recorder_; recorder != nullptr && recorder->guest_runs()) {
            machine_->kick();
        }
    };
    const auto kick_if_overdue = [this] {
        if (Recorder* recorder = running_recorder_; recorder != nullptr && recorder->overdue()) {
            machine_->kick();
        }
    };
    const auto print = [this](std::string_view text) {
        if (config_.observer.on_console) {
            config_.observer.on_console(text);
        }
    };
    live_ = std::make_unique<LiveIo>(io_, queue_, std::move(link), LiveIo::Handlers{kick, kick_if_overdue, print});
}

void Replica::lead() {
    make_live_io(config_.link);
    tick();
    feed(event::Started{});
}

void Replica::follow(channel::Joined joined) {
    peer_ = std::move(joined.connection);
    tick();
    attend_primary();
}

ReplicaResult Replica::run() {
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

// Asks the primary until it answers or the time is up: it may still be claiming its VM.
channel::Joined join_primary(boost::asio::io_context& io, const BackupConfig& config, const channel::Hello& hello) {
    const auto deadline = Clock::now() + config.join_timeout;
    constexpr auto kPause = 200ms;
    for (;;) {
        std::optional<channel::JoinResult> result;
        channel::join(io, config.primary_host, config.primary_port, hello, 2s, {},
                      [&](channel::JoinResult answer) { result = std::move(answer); });
        io.restart();
        while (!result) {
            io.run_one();
        }
        if (auto* joined = std::get_if<channel::Joined>(&*result)) {
            return std::move(*joined);
        }
        const auto& failure = std::get<channel::JoinFailure>(*result);
        if (failure.refused || Clock::now() + kPause > deadline) {
            throw Error::format("cannot join the primary at {}:{}: {}", config.primary_host, config.primary_port,
                                failure.reason);
        }
        std::this_thread::sleep_for(kPause);
    }
}

}  // namespace

ReplicaResult run_primary(const machine::VmConfig& vm, const ReplicaConfig& config) {
    const machine::LoadedVm loaded = machine::load_vm(vm);
    auto machine = std::make_unique<machine::Machine>(loaded, engine::make_kvm_engine);
    boost::asio::io_context io(1);
    RoleConfig role;
    role.vm = vm.name;
    role.self = config.id;
    Replica replica(config, vm.name, std::move(machine), RoleMachine::claim(role), io);
    replica.lead();
    return replica.run();
}

ReplicaResult run_backup(const BackupConfig& config) {
    boost::asio::io_context io(1);
    channel::Hello hello;
    hello.vm = config.vm;
    hello.replica = config.replica.id;
    hello.engine = engine::kKvmEngineName;
    hello.cpu_table_digest = machine::cpuid_table_digest();
    hello.version = UNDERSTUDY_VERSION;
    channel::Joined joined = join_primary(io, config, hello);
    auto machine = std::make_unique<machine::Machine>(joined.welcome.memory_size, engine::make_kvm_engine);
    RoleConfig role;
    role.vm = config.vm;
    role.self = config.replica.id;
    RoleMachine roles = RoleMachine::join(role, joined.welcome.replica, joined.welcome.generation);
    io.restart();
    Replica replica(config.replica, config.vm, std::move(machine), std::move(roles), io);
    replica.follow(std::move(joined));
    return replica.run();
}

}  // namespace understudy::replication
