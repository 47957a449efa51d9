#include "tests/simulation/replication/simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <utility>
#include <variant>

#include "hypervisor/replication/log_window.hpp"
#include "hypervisor/replication/output_gate.hpp"
#include "hypervisor/replication/roles.hpp"
#include "hypervisor/replication/suspicion_timer.hpp"

namespace understudy::replication::simulation {
namespace {

using Time = std::chrono::nanoseconds;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Time kFaultsEnd = seconds(4);
constexpr Time kEnd = seconds(8);
constexpr Time kHeartbeat = milliseconds(25);
constexpr Time kTick = milliseconds(10);
constexpr Time kArbiterTimeout = milliseconds(200);

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = a * 0x9e3779b97f4a7c15ULL + b + 0x7f4a7c15ULL;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9ULL;
    return x ^ (x >> 32);
}

// --- The guest ------------------------------------------------------------------------------------------------------
// Its life is a chain of hashes, two for each stop: where the stop is, then the input that it gets there. What it says
// at a stop follows from the first. Between the two it is at a mark.
struct Guest {
    std::vector<std::uint64_t> life{1};

    [[nodiscard]] StopNumber stop() const { return {life.size() / 2}; }
    [[nodiscard]] bool at_mark() const { return life.size() % 2 == 0; }
    void live(std::uint64_t choice) { life.push_back(mix(life.back(), choice)); }
    // At a mark: what is said there.
    [[nodiscard]] std::vector<Output> outputs() const {
        if (!speaks(life.back())) {
            return {};
        }
        Output output;
        for (int i = 0; i < 8; ++i) {
            output.bytes.push_back(static_cast<std::byte>(stop().value >> (8 * i)));
        }
        return {output};
    }
    [[nodiscard]] static bool speaks(std::uint64_t hash) { return hash % 3 != 0; }
    // Where in `life` a stop's outputs follow from.
    [[nodiscard]] static std::size_t index(StopNumber stop) { return 2 * stop.value - 1; }
};

StopNumber stop_of(const Output& output) {
    std::uint64_t stop = 0;
    for (int i = 7; i >= 0; --i) {
        stop = (stop << 8) | static_cast<std::uint64_t>(output.bytes[static_cast<std::size_t>(i)]);
    }
    return {stop};
}

// --- Messages of the channel ----------------------------------------------------------------------------------------
struct WelcomeMessage {
    Generation generation;
};
struct StateMessage {
    Guest guest;
};
struct RecordMessage {
    StopNumber stop;
    std::optional<std::uint64_t> position;  // absent behind a mark
    std::optional<std::uint64_t> input;     // absent in a mark
    [[nodiscard]] bool mark() const { return !input; }
};
struct ReportMessage {
    StopNumber received, replayed, released;
};
struct ReadyMessage {};
struct FormedMessage {};
struct RefuseMessage {};
struct EndMessage {};  // the peer's end was closed
using Message = std::variant<WelcomeMessage, StateMessage, RecordMessage, ReportMessage, ReadyMessage, FormedMessage,
                             RefuseMessage, EndMessage>;

struct Replica;

// One connection: a FIFO each way. Index 0 is the primary's end.
struct Link {
    std::array<Replica*, 2> ends{};
    std::array<bool, 2> open{true, true};
    struct Direction {
        Time last{0};  // delivery of the newest message
        bool cut = false;
        std::deque<Message> stuck;        // arrived at the cut
        std::uint64_t lost_from = ~0ULL;  // the host died: messages from here on never left
        std::uint64_t sent = 0;
    };
    std::array<Direction, 2> towards;  // [i]: messages to ends[i]
};

struct Replica {
    std::string id;
    bool alive = true;   // the process exists
    bool ended = false;  // terminated by its own decision
    bool began_as_backup = false;
    bool paused = false;
    std::vector<std::function<void()>> missed;  // while paused
    std::optional<RoleMachine> roles;
    Guest guest;
    OutputGate gate;
    OutputRetention retention;
    std::optional<LogWindow> window;
    std::optional<ReplayBacklog> backlog;
    std::deque<RecordMessage> log;  // received, not replayed
    std::optional<SuspicionTimer> timer;
    std::shared_ptr<Link> link;
    bool replaying = false;
    bool going_live = false;
    StopNumber last_heard;  // of this replica, by the network
    ReplicaId dropped;      // a peer whose records a mistaken backup still acknowledges

    [[nodiscard]] bool acts() const { return alive && !ended; }
    [[nodiscard]] Role role() const { return roles ? roles->role() : Role::joining; }
};

// --- The world ------------------------------------------------------------------------------------------------------
class World {
  public:
    World(std::uint64_t seed, const Mistakes& mistakes, bool tell)
        : random_(seed), mistakes_(mistakes), tell_(tell), careful_(seed % 4 != 0), agitation_(1 + seed % 5) {}

    Result run() {
        start_primary();
        at(milliseconds(50), [this] { invite(); });
        at(next_fault(), [this] { strike(); });
        while (!events_.empty() && result_.violation.empty()) {
            const auto& top = events_.top();
            if (top.time > kEnd) {
                break;
            }
            now_ = top.time;
            const auto what = std::move(const_cast<Scheduled&>(top).what);
            events_.pop();
            what();
            if (now_ >= kFaultsEnd && !healed_) {
                heal();
            }
        }
        if (result_.violation.empty()) {
            check_end();
        }
        result_.generations = arbiter_.generation.value;
        return std::move(result_);
    }

  private:
    struct Scheduled {
        Time time;
        std::uint64_t order;
        std::function<void()> what;
        bool operator<(const Scheduled& other) const {
            return std::pair(time, order) > std::pair(other.time, other.order);
        }
    };

    // --- Chance and time --------------------------------------------------------------------------------------------
    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    Time between(Time least, Time most) {
        return least + Time(static_cast<std::int64_t>(below(static_cast<std::uint64_t>((most - least).count()) + 1)));
    }
    void at(Time delay, std::function<void()> what) { events_.push({now_ + delay, order_++, std::move(what)}); }
    // On the replica's own thread: not when it is dead, later when it is stopped.
    void at(Time delay, Replica& replica, std::function<void()> what) {
        at(delay, [this, &replica, what = std::move(what)]() mutable { execute(replica, std::move(what)); });
    }
    static void execute(Replica& replica, std::function<void()> what) {
        if (!replica.acts()) {
            return;
        }
        if (replica.paused) {
            replica.missed.push_back(std::move(what));
        } else {
            what();
        }
    }

    template <typename... Args>
    void tell(fmt::format_string<Args...> text, Args&&... args) {
        if (tell_) {
            result_.story.push_back(fmt::format("{:9.3f} ms  {}", static_cast<double>(now_.count()) / 1e6,
                                                fmt::format(text, std::forward<Args>(args)...)));
        }
    }
    void violate(std::string what) {
        if (result_.violation.empty()) {
            tell("VIOLATION {}", what);
            result_.violation = std::move(what);
        }
    }

    // --- Replicas ---------------------------------------------------------------------------------------------------
    Replica& new_replica(const char* kind) {
        replicas_.push_back(std::make_unique<Replica>());
        replicas_.back()->id = fmt::format("{}{}", kind, replicas_.size());
        return *replicas_.back();
    }

    void start_primary() {
        Replica& replica = new_replica("P");
        replica.roles = RoleMachine::claim({"vm", replica.id});
        at(Time(0), replica, [this, &replica] {
            feed(replica, event::Started{});
            tick(replica);
        });
    }

    void tick(Replica& replica) {
        feed(replica, event::Tick{now_});
        if (replica.link && replica.timer && replica.timer->tick(now_)) {
            tell("{} suspects its peer", replica.id);
            lose_peer(replica, "silence");
        }
        at(kTick, replica, [this, &replica] { tick(replica); });
    }

    void heartbeat(Replica& replica, const std::shared_ptr<Link>& link) {
        if (replica.link != link) {
            return;
        }
        report(replica);
        at(kHeartbeat, replica, [this, &replica, link] { heartbeat(replica, link); });
    }

    void report(Replica& replica) {
        ReportMessage message;
        if (replica.backlog) {
            message.received = replica.backlog->received_up_to();
            message.replayed = replica.backlog->replayed_up_to();
        } else {
            message.released = replica.gate.released_up_to();
            if (mistakes_.report_before_release) {
                message.released = replica.guest.stop();
            }
        }
        send(replica, message);
    }

    // --- The guest runs ---------------------------------------------------------------------------------------------
    void step(Replica& replica) {
        const Role role = replica.role();
        const bool runs =
            role == Role::solo || role == Role::forming || role == Role::leading || role == Role::deciding;
        const bool room = (!replica.window || replica.window->may_proceed()) && replica.gate.held() < Bytes{2000};
        if (runs && room && !replica.backlog) {
            record(replica, one_in(3));
        }
        at(between(microseconds(500), milliseconds(5)), replica, [this, &replica] { step(replica); });
    }

    // The next stop, up to its mark only if so wanted; or, at a mark, what completes it.
    void record(Replica& replica, bool mark_only) {
        Guest& guest = replica.guest;
        RecordMessage message;
        std::vector<Output> outputs;
        const bool completes = guest.at_mark();
        if (!completes) {
            message.position = random_();
            guest.live(*message.position);
            outputs = guest.outputs();
        }
        message.stop = guest.stop();
        if (completes || !mark_only) {
            message.input = random_();
            guest.live(*message.input);
        }
        if (replica.link && replica.window) {
            send(replica, message);
            replica.window->sent(message.stop, now_, {40}, message.mark());
        }
        if (completes) {
            return;
        }
        if (mistakes_.release_before_acknowledgement) {
            release(replica, outputs);
            outputs.clear();
        }
        release(replica, replica.gate.take(message.stop, std::move(outputs)));
    }

    void replay(Replica& replica) {
        if (replica.log.empty()) {
            replica.replaying = false;
            if (replica.going_live) {
                replica.going_live = false;
                feed(replica, event::LogDrained{});
            }
            return;
        }
        const RecordMessage record = replica.log.front();
        replica.log.pop_front();
        if (record.position) {
            replica.guest.live(*record.position);
            replica.retention.keep(record.stop, replica.guest.outputs());
        }
        if (record.input) {
            replica.guest.live(*record.input);
            replica.backlog->replayed();
        }
        at(between(microseconds(10), one_in(40) ? milliseconds(60) : milliseconds(2)), replica,
           [this, &replica] { replay(replica); });
    }

    void begin_replay(Replica& replica) {
        if (!replica.replaying) {
            replica.replaying = true;
            at(microseconds(10), replica, [this, &replica] { replay(replica); });
        }
    }

    // --- The network ------------------------------------------------------------------------------------------------
    void release(Replica& replica, const std::vector<Output>& outputs) {
        for (const Output& output : outputs) {
            hear(replica, stop_of(output));
        }
    }

    void hear(Replica& replica, StopNumber stop) {
        ++result_.outputs;
        if (stop <= replica.last_heard) {
            violate(fmt::format("{} says stop {} after stop {}", replica.id, stop.value, replica.last_heard.value));
        }
        replica.last_heard = stop;
        const auto& lived = replica.guest.life;
        const std::size_t index = Guest::index(stop);
        const std::size_t common = std::min(index, life_.size() - 1);
        if (lived[common] != life_[common]) {
            violate(fmt::format("{} says stop {} of another history than the one heard up to stop {}", replica.id,
                                stop.value, life_.size() / 2));
            return;
        }
        for (std::size_t i = life_.size(); i <= index; ++i) {
            life_.push_back(lived[i]);
        }
        heard_.resize(std::max<std::size_t>(heard_.size(), stop.value + 1));
        heard_[stop.value] = true;
        last_heard_at_ = now_;
    }

    // --- The channel ------------------------------------------------------------------------------------------------
    void send(Replica& from, Message message) {
        if (!from.link) {
            return;
        }
        Link& link = *from.link;
        const std::size_t to = link.ends[0] == &from ? 1 : 0;
        auto& way = link.towards[to];
        Time delay = between(microseconds(30), one_in(20) ? milliseconds(20) : microseconds(300));
        if (std::holds_alternative<StateMessage>(message)) {
            delay = between(milliseconds(2), milliseconds(80));
        }
        const Time when = std::max(way.last, now_ + delay);
        way.last = when;
        at(when - now_, [this, link = from.link, to, message = std::move(message), number = way.sent++]() mutable {
            arrive(link, to, std::move(message), number);
        });
    }

    void arrive(const std::shared_ptr<Link>& link, std::size_t to, Message message, std::uint64_t number) {
        auto& way = link->towards[to];
        if (number >= way.lost_from) {
            return;
        }
        if (way.cut) {
            way.stuck.push_back(std::move(message));
            return;
        }
        Replica& receiver = *link->ends[to];
        execute(receiver, [this, link, to, &receiver, message = std::move(message)]() mutable {
            if (link->open[to] && receiver.link == link) {
                take(receiver, std::move(message));
            } else if (mistakes_.acknowledge_after_suspicion && receiver.role() == Role::deciding) {
                acknowledge_wrongly(receiver, link, message);
            }
        });
    }

    // Closes one end. What is under way from it still arrives, then the end; unless the whole host died.
    void close_end(Replica& replica, bool silently = false) {
        const auto link = std::exchange(replica.link, nullptr);
        if (!link) {
            return;
        }
        const std::size_t end = link->ends[0] == &replica ? 0 : 1;
        link->open[end] = false;
        auto& way = link->towards[1 - end];
        if (silently) {
            way.lost_from = way.sent - below(std::min<std::uint64_t>(way.sent + 1, 10));
        } else if (!(mistakes_.acknowledge_after_suspicion && replica.backlog)) {
            replica.link = link;
            send(replica, EndMessage{});
            replica.link = nullptr;
        }
    }

    void acknowledge_wrongly(Replica& replica, const std::shared_ptr<Link>& link, const Message& message) {
        if (const auto* record = std::get_if<RecordMessage>(&message)) {
            replica.link = link;
            send(replica, ReportMessage{record->stop, replica.backlog->replayed_up_to(), {}});
            replica.link = nullptr;
        }
    }

    void lose_peer(Replica& replica, const char* why) {
        const auto peer = replica.roles->peer();
        if (peer) {
            feed(replica, event::PeerLost{*peer, why});
        }
    }

    void take(Replica& replica, Message message) {
        if (replica.timer) {
            replica.timer->heard(now_);
        }
        std::visit([&](auto& m) { take(replica, m); }, message);
    }

    void take(Replica& replica, const WelcomeMessage& welcome) {
        replica.roles = RoleMachine::join({"vm", replica.id}, replica.link->ends[0]->id, welcome.generation);
        replica.timer.emplace(now_);
        feed(replica, event::Started{});
        tick(replica);
        heartbeat(replica, replica.link);
    }
    void take(Replica& replica, StateMessage& state) {
        replica.guest = std::move(state.guest);
        replica.backlog.emplace(replica.guest.stop());
        feed(replica, event::StateReceived{});
        send(replica, ReadyMessage{});
    }
    void take(Replica& replica, const RecordMessage& record) {
        if (!replica.roles->may_acknowledge()) {
            return;
        }
        if (replica.backlog->receive(record.stop, {40}, record.mark()) != ReplayBacklog::Verdict::accepted) {
            violate(fmt::format("{} received what a sound primary does not send", replica.id));
            return;
        }
        replica.log.push_back(record);
        report(replica);
        begin_replay(replica);
    }
    void take(Replica& replica, const ReportMessage& message) {
        if (replica.backlog) {
            replica.retention.released(message.released);
            return;
        }
        if (!replica.window || !replica.roles->peer() || message.received.value == 0) {
            return;
        }
        if (!replica.window->report(message.received, message.replayed)) {
            violate(fmt::format("{} got an impossible report", replica.id));
        }
        release(replica, replica.gate.acknowledge(message.received));
        feed(replica, event::Acknowledged{*replica.roles->peer(), message.received});
    }
    void take(Replica& replica, const ReadyMessage& /*m*/) {
        feed(replica, event::BackupReady{*replica.roles->peer()});
    }
    void take(Replica& replica, const FormedMessage& /*m*/) { feed(replica, event::PairFormed{}); }
    void take(Replica& replica, const RefuseMessage& /*m*/) {
        replica.link = nullptr;
        replica.ended = true;
    }
    void take(Replica& replica, const EndMessage& /*m*/) {
        if (!replica.roles) {
            replica.ended = true;
            return;
        }
        lose_peer(replica, "closed");
    }

    // --- Joining ----------------------------------------------------------------------------------------------------
    void invite() {
        const auto acting =
            std::ranges::count_if(replicas_, [](const auto& r) { return r->acts() && r->role() != Role::deciding; });
        if (acting < 2 || (acting == 2 && one_in(10))) {
            std::vector<Replica*> hosts;
            for (const auto& replica : replicas_) {
                if (replica->acts() && replica->roles) {
                    hosts.push_back(replica.get());
                }
            }
            if (!hosts.empty()) {
                connect(*hosts[below(hosts.size())]);
            }
        }
        at(between(milliseconds(50), milliseconds(200)), [this] { invite(); });
    }

    void connect(Replica& primary) {
        Replica& backup = new_replica("B");
        backup.began_as_backup = true;
        auto link = std::make_shared<Link>();
        link->ends = {&primary, &backup};
        backup.link = link;
        links_.push_back(link);
        // Nobody waits for a welcome for ever.
        at(milliseconds(500), backup, [&backup] { backup.ended = backup.ended || !backup.roles; });
        at(between(microseconds(50), milliseconds(2)), primary, [this, &primary, &backup, link] {
            tell("{} asks {} ({})", backup.id, primary.id, name(primary.role()));
            waiting_ = link;
            feed(primary, event::BackupConnected{backup.id});
            waiting_ = nullptr;
        });
    }

    // --- The arbiter ------------------------------------------------------------------------------------------------
    using Request = std::variant<arbiter::FormRequest, arbiter::TestAndSetRequest>;

    arbiter::Outcome decide(const arbiter::FormRequest& request) {
        auto& vm = arbiter_;
        const bool repeated = vm.generation == request.next && vm.members == request.members;
        const bool owner = vm.generation.value == 0 ||
                           (vm.winner ? *vm.winner == request.proposer : vm.members == std::vector{request.proposer});
        if (!repeated && vm.generation == request.expected && owner) {
            vm = {request.next, request.members, std::nullopt};
            tell("arbiter: generation {} is {}", request.next.value, fmt::join(request.members, ", "));
            return {arbiter::Verdict::yes, vm, ""};
        }
        return {repeated ? arbiter::Verdict::yes : arbiter::Verdict::no, vm, "not the owner"};
    }
    arbiter::Outcome decide(const arbiter::TestAndSetRequest& request) {
        auto& vm = arbiter_;
        const bool member = std::ranges::find(vm.members, request.candidate) != vm.members.end();
        if (vm.generation == request.generation && member && !vm.winner) {
            vm.winner = request.candidate;
            tell("arbiter: {} wins generation {}", request.candidate, vm.generation.value);
        }
        const bool won = vm.generation == request.generation && vm.winner == request.candidate;
        return {won ? arbiter::Verdict::yes : arbiter::Verdict::no, vm, "not the winner"};
    }

    void ask(Replica& replica, std::uint64_t ticket, Request request) {
        const auto answered = std::make_shared<bool>(false);
        const auto answer = [this, &replica, ticket, answered](const arbiter::Outcome& outcome) {
            if (!std::exchange(*answered, true)) {
                result_.unknowns += outcome.verdict == arbiter::Verdict::unknown ? 1 : 0;
                feed(replica, event::ArbiterAnswered{ticket, altered(replica, outcome)});
            }
        };
        at(kArbiterTimeout, replica, [answer] { answer({arbiter::Verdict::unknown, std::nullopt, "no answer"}); });
        const bool calm = healed_;
        if (arbiter_down_ || (!calm && one_in(8))) {
            return;  // the question is lost
        }
        const int copies = !calm && one_in(8) ? 2 : 1;
        for (int i = 0; i < copies; ++i) {
            const Time way = !calm && one_in(6) ? between(milliseconds(1), milliseconds(800))
                                                : between(microseconds(200), milliseconds(5));
            at(way, [this, &replica, request, answer] {
                const auto outcome = std::visit([this](const auto& r) { return decide(r); }, request);
                if (healed_ || !(arbiter_down_ || one_in(8))) {  // else the answer is lost
                    at(between(microseconds(200), milliseconds(5)), replica, [answer, outcome] { answer(outcome); });
                }
            });
        }
    }

    // What a mistaken driver makes of an answer.
    arbiter::Outcome altered(const Replica& replica, arbiter::Outcome outcome) const {
        const bool deciding = replica.role() == Role::deciding;
        if (deciding && mistakes_.speak_on_unknown && outcome.verdict == arbiter::Verdict::unknown) {
            outcome.verdict = arbiter::Verdict::yes;
        }
        if (deciding && mistakes_.loser_goes_on && outcome.verdict == arbiter::Verdict::no) {
            outcome.verdict = arbiter::Verdict::yes;
        }
        return outcome;
    }

    // --- What the role machine wants --------------------------------------------------------------------------------
    void feed(Replica& replica, const Event& event) {
        const Role before = replica.role();
        const auto actions = replica.roles->handle(event);
        if (replica.role() != before) {
            tell("{}: {} -> {} (stop {})", replica.id, name(before), name(replica.role()), replica.guest.stop().value);
            if (before == Role::forming && replica.role() == Role::deciding) {
                ++result_.undecided_forms;
                if (mistakes_.speak_while_form_is_undecided) {
                    release(replica, replica.gate.open());
                }
            }
        }
        for (const Action& action : actions) {
            std::visit([&](const auto& a) { act(replica, a); }, action);
        }
    }

    void act(Replica& replica, const action::Form& a) { ask(replica, a.ticket, a.request); }
    void act(Replica& replica, const action::TestAndSet& a) { ask(replica, a.ticket, a.request); }
    void act(Replica& replica, const action::StartGuest& /*a*/) { step(replica); }
    void act(Replica& replica, const action::StartTransfer& a) {
        replica.link = nullptr;
        if (replica.guest.at_mark()) {
            record(replica, false);  // the state is taken at a stop that has its input
        }
        replica.link = waiting_;
        replica.timer.emplace(now_);
        replica.window.emplace(replica.guest.stop());
        send(replica, WelcomeMessage{a.generation});
        send(replica, StateMessage{replica.guest});
        heartbeat(replica, replica.link);
    }
    void act(Replica& replica, const action::RefusePeer& /*a*/) {
        const auto own = std::exchange(replica.link, waiting_);
        send(replica, RefuseMessage{});
        replica.link = own;
    }
    void act(Replica& replica, const action::CloseGate& a) {
        StopNumber last = replica.gate.released_up_to();
        if (!mistakes_.forget_the_gate) {
            last = replica.gate.close();
        }
        feed(replica, event::GateClosed{a.peer, mistakes_.form_before_coverage ? StopNumber{0} : last});
        if (mistakes_.form_before_coverage) {
            feed(replica, event::Acknowledged{a.peer, {0}});
        }
    }
    void act(Replica& replica, const action::OpenGate& /*a*/) {
        if (replica.backlog) {  // it was a backup until now
            auto kept = replica.retention.go_live();
            replica.gate = OutputGate(replica.guest.stop());
            replica.backlog.reset();
            if (!mistakes_.no_resend) {
                release(replica, kept);
            }
            ++result_.takeovers;
            step(replica);
        } else {
            release(replica, replica.gate.open());
            result_.survivals += replica.roles->rank().won ? 1 : 0;
        }
        check_alone(replica);
    }
    void act(Replica& replica, const action::TellFormed& /*a*/) { send(replica, FormedMessage{}); }
    void act(Replica& /*replica*/, const action::StopAcknowledging& /*a*/) {}
    void act(Replica& replica, const action::DropPeer& /*a*/) {
        close_end(replica);
        replica.window.reset();
        replica.timer.reset();
    }
    void act(Replica& replica, const action::GoLive& /*a*/) {
        if (mistakes_.go_live_undrained) {
            replica.log.clear();
        }
        replica.going_live = true;
        begin_replay(replica);
    }
    void act(Replica& replica, const action::Speak& a) {
        const auto rank = std::pair(a.rank.generation.value, a.rank.won);
        const auto [place, first] = ranks_.emplace(rank, replica.id);
        if (!first && place->second != replica.id) {
            violate(fmt::format("{} and {} announce the same rank", place->second, replica.id));
        }
    }
    void act(Replica& replica, const action::Terminate& a) {
        tell("{} terminates: {}", replica.id, a.explanation);
        result_.depositions += a.reason == action::Terminate::Reason::deposed ? 1 : 0;
        close_end(replica);
        replica.ended = true;
    }

    void check_alone(const Replica& replica) {
        for (const auto& other : replicas_) {
            const bool alone = other->role() == Role::solo || other->role() == Role::forming;
            if (other.get() != &replica && other->acts() && alone && !other->backlog && other->gate.is_open()) {
                violate(fmt::format("{} and {} both speak alone", other->id, replica.id));
            }
        }
    }

    // --- What goes wrong --------------------------------------------------------------------------------------------
    Time next_fault() { return between(milliseconds(5), milliseconds(1200) / static_cast<int>(agitation_)); }

    void strike() {
        if (now_ >= kFaultsEnd) {
            return;
        }
        at(next_fault(), [this] { strike(); });
        std::vector<Replica*> acting;
        for (const auto& replica : replicas_) {
            if (replica->acts()) {
                acting.push_back(replica.get());
            }
        }
        if (acting.empty()) {
            return;
        }
        Replica& victim = *acting[below(acting.size())];
        switch (below(6)) {
            case 0:
            case 1:
                return kill(victim);
            case 2:
                return pause(victim);
            case 3:
                return stop_arbiter();
            default:
                return cut();
        }
    }

    // Careful schedules kill only where the VM must survive: one of a formed pair, neither of which has begun to
    // decide.
    [[nodiscard]] bool may_kill(const Replica& victim) const {
        if (!careful_) {
            return true;
        }
        bool leads = false;
        bool follows = false;
        for (const auto& replica : replicas_) {
            if (replica->acts() && replica->roles && replica->roles->generation() == arbiter_.generation) {
                leads = leads || replica->role() == Role::leading;
                follows = follows || replica->role() == Role::following;
            }
        }
        return leads && follows && !arbiter_.winner &&
               (victim.role() == Role::leading || victim.role() == Role::following);
    }

    void kill(Replica& victim) {
        if (!may_kill(victim)) {
            return;
        }
        ++result_.kills;
        const bool host = one_in(2);
        tell("KILL {} ({}, {})", victim.id, name(victim.role()), host ? "with its host" : "the process");
        close_end(victim, host);
        victim.alive = false;
    }

    void pause(Replica& victim) {
        if (victim.paused) {
            return;
        }
        tell("STOP {} ({})", victim.id, name(victim.role()));
        victim.paused = true;
        at(between(milliseconds(5), one_in(3) ? milliseconds(1500) : milliseconds(200)),
           [this, &victim] { resume(victim); });
    }

    void resume(Replica& victim) {
        if (!std::exchange(victim.paused, false)) {
            return;
        }
        tell("CONT {}", victim.id);
        for (auto& what : std::exchange(victim.missed, {})) {
            execute(victim, std::move(what));
        }
    }

    void stop_arbiter() {
        if (arbiter_down_) {
            return;
        }
        tell("arbiter down");
        arbiter_down_ = true;
        at(between(milliseconds(20), milliseconds(800)), [this] { arbiter_down_ = false; });
    }

    void cut() {
        for (const auto& weak : links_) {
            const auto link = weak.lock();
            if (!link || !(link->open[0] && link->open[1])) {
                continue;
            }
            const auto which = below(3);
            const Time length = between(milliseconds(5), one_in(2) ? milliseconds(90) : milliseconds(1500));
            for (std::size_t to = 0; to < 2; ++to) {
                if (which == to || which == 2) {
                    tell("CUT towards {}", link->ends[to]->id);
                    link->towards[to].cut = true;
                    at(length, [this, link, to] { mend(link, to); });
                }
            }
        }
    }

    void mend(const std::shared_ptr<Link>& link, std::size_t to) {
        auto& way = link->towards[to];
        if (!std::exchange(way.cut, false)) {
            return;
        }
        for (auto& message : std::exchange(way.stuck, {})) {
            arrive(link, to, std::move(message), 0);
        }
    }

    void heal() {
        healed_ = true;
        arbiter_down_ = false;
        tell("no more faults");
        for (const auto& weak : links_) {
            if (const auto link = weak.lock()) {
                mend(link, 0);
                mend(link, 1);
            }
        }
        for (std::size_t i = 0; i < replicas_.size(); ++i) {
            resume(*replicas_[i]);
        }
    }

    // --- The end ----------------------------------------------------------------------------------------------------
    void check_end() {
        const auto plays = [this](Role role) {
            return std::ranges::any_of(replicas_, [&](const auto& r) { return r->acts() && r->role() == role; });
        };
        const bool speaks = plays(Role::solo) || plays(Role::forming) || plays(Role::leading);
        if (!speaks && !careful_) {
            result_.lost = true;
            return;
        }
        if (!speaks) {
            return violate(
                "nobody speaks for the guest, though it was never without a second replica when one was killed");
        }
        if (now_ - last_heard_at_ > milliseconds(500)) {
            return violate("the guest does not go on");
        }
        if (!plays(Role::leading) || !plays(Role::following)) {
            return violate("no pair has formed though nothing fails any more");
        }
        for (StopNumber stop{1}; Guest::index(stop) < life_.size(); stop = stop.next()) {
            if (Guest::speaks(life_[Guest::index(stop)]) && !heard_[stop.value]) {
                return violate(fmt::format("what the guest said at stop {} was never heard", stop.value));
            }
        }
    }

    std::mt19937_64 random_;
    Mistakes mistakes_;
    bool tell_;
    bool careful_;
    std::uint64_t agitation_;
    Result result_;

    Time now_{0};
    std::uint64_t order_ = 0;
    std::priority_queue<Scheduled> events_;
    bool healed_ = false;

    std::vector<std::unique_ptr<Replica>> replicas_;
    std::vector<std::weak_ptr<Link>> links_;
    std::shared_ptr<Link> waiting_;  // the connection of the backup that asks just now

    arbiter::VmState arbiter_;
    bool arbiter_down_ = false;

    // What the network heard: the one history, and which of its stops.
    std::vector<std::uint64_t> life_{1};
    std::vector<bool> heard_{false};
    Time last_heard_at_{0};
    std::map<std::pair<std::uint64_t, bool>, ReplicaId> ranks_;
};

}  // namespace

Result simulate(std::uint64_t seed, const Mistakes& mistakes, bool tell) {
    return World(seed, mistakes, tell).run();
}

}  // namespace understudy::replication::simulation
