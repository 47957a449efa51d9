#include "tests/simulation/hypervisor/replication/world.hpp"

#include <fmt/ranges.h>

#include <algorithm>

namespace understudy::replication::simulation {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Time kArbiterTimeout = milliseconds(200);

}  // namespace

Result World::run() {
    Replica& first = new_replica("P");
    after(Time(0), first, [&first] { first.claim(); });
    after(milliseconds(50), [this] { invite(); });
    after(next_fault(), [this] { strike(); });
    while (!events_.empty() && result_.violation.empty() && events_.top().time <= kEnd) {
        now_ = events_.top().time;
        const auto what = events_.top().what;
        events_.pop();
        what();
        if (now_ >= kFaultsEnd && !healed_) {
            heal();
        }
    }
    if (result_.violation.empty()) {
        check_end();
    }
    result_.generations = vm_ ? vm_->state.generation.value : 0;
    return std::move(result_);
}

void World::after(Time delay, Replica& replica, std::function<void()> what) {
    after(delay, [&replica, what = std::move(what)]() mutable { replica.execute(std::move(what)); });
}

Time World::handover() {
    return between(microseconds(2), one_in(30) ? Time(milliseconds(8)) : Time(microseconds(60)));
}

void World::violate(std::string what) {
    if (result_.violation.empty()) {
        tell("VIOLATION {}", what);
        result_.violation = std::move(what);
    }
}

// --- Replicas -------------------------------------------------------------------------------------------------------

Replica& World::new_replica(const char* kind) {
    replicas_.push_back(std::make_unique<Replica>(*this, fmt::format("{}{}", kind, replicas_.size() + 1)));
    return *replicas_.back();
}

void World::invite() {
    const auto acting =
        std::ranges::count_if(replicas_, [](const auto& r) { return r->acts() && r->role() != Role::deciding; });
    if (acting < 2 || (acting == 2 && one_in(10))) {
        std::vector<Replica*> hosts;
        for (const auto& replica : replicas_) {
            if (replica->acts() && replica->welcomed()) {
                hosts.push_back(replica.get());
            }
        }
        if (!hosts.empty()) {
            connect(*hosts[below(hosts.size())]);
        }
    }
    after(between(milliseconds(50), milliseconds(200)), [this] { invite(); });
}

void World::connect(Replica& primary) {
    Replica& backup = new_replica("B");
    auto link = std::make_shared<Link>();
    link->ends = {&primary, &backup};
    links_.push_back(link);
    backup.join(link);
    // Nobody waits for a welcome for ever.
    after(milliseconds(500), backup, [&backup] {
        if (!backup.welcomed()) {
            backup.kill(false);
        }
    });
    after(between(microseconds(50), milliseconds(2)), primary, [this, &primary, &backup, link] {
        tell("{} asks {} ({})", backup.id(), primary.id(), name(primary.role()));
        primary.candidate_connected(link);
    });
}

void World::show_role(const Replica& replica, Role role, Generation generation, const std::string& reason) {
    const auto [shown, first] = roles_.try_emplace(replica.id(), role);
    const Role before = std::exchange(shown->second, role);
    tell("{}: {} -> {} in generation {} ({})", replica.id(), first ? "" : name(before), name(role), generation.value,
         reason);
    result_.undecided_forms += before == Role::forming && role == Role::deciding ? 1 : 0;
    result_.survivals += before == Role::deciding && role == Role::solo ? 1 : 0;
    if (role == Role::solo) {
        check_alone(replica);
    }
}

void World::terminated(const Replica& replica, const action::Terminate& end) {
    tell("{} terminates: {}", replica.id(), end.explanation);
    result_.depositions += end.reason == action::Terminate::Reason::deposed ? 1 : 0;
}

// --- The channel ----------------------------------------------------------------------------------------------------

void World::send(const std::shared_ptr<Link>& link, std::size_t to, Message message) {
    auto& way = link->towards[to];
    Time delay = between(microseconds(30), one_in(20) ? Time(milliseconds(20)) : Time(microseconds(300)));
    if (std::holds_alternative<StateMessage>(message)) {
        delay = between(milliseconds(2), milliseconds(80));
    }
    const Time when = std::max(way.last, now_ + delay);
    way.last = when;
    after(when - now_, [this, link, to, message = std::move(message), number = way.sent++]() mutable {
        arrive(link, to, std::move(message), number);
    });
}

void World::lose_tail(Link::Direction& way) {
    way.lost_from = way.sent - below(std::min<std::uint64_t>(way.sent + 1, 10));
}

void World::arrive(const std::shared_ptr<Link>& link, std::size_t to, Message message, std::uint64_t number) {
    auto& way = link->towards[to];
    if (number >= way.lost_from) {
        return;
    }
    if (way.cut) {
        way.stuck.push_back(std::move(message));
        return;
    }
    Replica& receiver = *link->ends[to];
    receiver.execute([link, to, &receiver, message = std::move(message)]() mutable {
        if (link->open[to] && receiver.link() == link) {
            receiver.take(std::move(message));
        }
    });
}

// --- The arbiter ----------------------------------------------------------------------------------------------------

// What the arbiter's servers have agreed on, decided by their own function.
arbiter::Outcome World::decide(const ArbiterRequest& request) {
    const auto before = vm_;
    const auto decision = std::visit([this](const auto& r) { return arbiter::decide(vm_, r); }, request);
    if (vm_ && before != vm_) {
        const auto& state = vm_->state;
        tell("arbiter: generation {} is {}, won by {}", state.generation.value, fmt::join(state.members, ", "),
             state.winner.value_or("nobody"));
    }
    const auto current = vm_ ? std::optional(vm_->state) : std::nullopt;
    return {decision.granted ? arbiter::Verdict::yes : arbiter::Verdict::no, current,
            arbiter::explain(decision.reason, kVm, current)};
}

void World::ask_arbiter(Replica& replica, ArbiterRequest request,
                        std::function<void(const arbiter::Outcome&)> callback) {
    const auto answered = std::make_shared<bool>(false);
    const auto answer = [this, callback = std::move(callback), answered](const arbiter::Outcome& outcome) {
        if (!std::exchange(*answered, true)) {
            result_.unknowns += outcome.verdict == arbiter::Verdict::unknown ? 1 : 0;
            callback(outcome);
        }
    };
    after(kArbiterTimeout, replica, [answer] { answer({arbiter::Verdict::unknown, std::nullopt, "no answer"}); });
    const bool calm = healed_;
    if (arbiter_down_ || (!calm && one_in(8))) {
        return;  // the question is lost
    }
    const int copies = !calm && one_in(8) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
        const Time way = !calm && one_in(6) ? between(milliseconds(1), milliseconds(800))
                                            : between(microseconds(200), milliseconds(5));
        after(way, [this, &replica, request, answer] {
            const auto outcome = decide(request);
            if (healed_ || !(arbiter_down_ || one_in(8))) {  // else the answer is lost
                after(between(microseconds(200), milliseconds(5)), replica, [answer, outcome] { answer(outcome); });
            }
        });
    }
}

// --- The network, and what must hold
// ----------------------------------------------------------------------------------

void World::hear(Replica& replica, StopNumber stop) {
    ++result_.outputs;
    if (stop <= replica.last_heard) {
        violate(fmt::format("{} says stop {} after stop {}", replica.id(), stop.value, replica.last_heard.value));
    }
    replica.last_heard = stop;
    const auto& lived = replica.life();
    const std::size_t index = Guest::index(stop);
    const std::size_t common = std::min(index, life_.size() - 1);
    if (lived[common] != life_[common]) {
        violate(fmt::format("{} says stop {} of another history than the one heard up to stop {}", replica.id(),
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

void World::announced(const Replica& replica, SpeakerRank rank) {
    const auto [place, first] = ranks_.emplace(std::pair(rank.generation.value, rank.won), replica.id());
    if (!first && place->second != replica.id()) {
        violate(fmt::format("{} and {} announce the same rank", place->second, replica.id()));
    }
}

void World::check_alone(const Replica& replica) {
    for (const auto& other : replicas_) {
        if (other.get() != &replica && other->speaks_alone()) {
            violate(fmt::format("{} and {} both speak alone", other->id(), replica.id()));
        }
    }
}

void World::check_end() {
    const auto plays = [this](Role role) {
        return std::ranges::any_of(replicas_, [&](const auto& r) { return r->acts() && r->role() == role; });
    };
    const bool speaks = plays(Role::solo) || plays(Role::forming) || plays(Role::leading);
    if (!speaks && !careful_) {
        result_.lost = true;
        return;
    }
    if (!speaks) {
        return violate("nobody speaks for the guest, though it was never without a second replica when one was killed");
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

Result simulate(std::uint64_t seed, bool tell) {
    return World(seed, tell).run();
}

}  // namespace understudy::replication::simulation
