#include "tests/simulation/hypervisor/replication/world.hpp"

#include <algorithm>

namespace understudy::replication::simulation {

using std::chrono::milliseconds;

Setting::Setting() {
    limits.transfer_suspicion = milliseconds(300);
    limits.held_outputs = Bytes{2000};
    limits.unreported = Bytes{10 * kRecordSize.value};
    roles.retry_interval = milliseconds(50);
    roles.claim_deadline = milliseconds(2000);
    roles.unformed_deadline = milliseconds(1000);
}

RoleConfig Setting::roles_of(const ReplicaId& replica) const {
    RoleConfig config = roles;
    config.self = replica;
    return config;
}

// --- Time -----------------------------------------------------------------------------------------------------------

void World::run_until(Time end) {
    while (!events_.empty() && violation_.empty() && events_.front().time <= end) {
        std::pop_heap(events_.begin(), events_.end());
        const auto next = std::move(events_.back());
        events_.pop_back();
        now_ = next.time;
        next.what();
    }
    now_ = std::max(now_, end);
}

void World::after(Time delay, std::function<void()> what) {
    events_.push_back({now_ + delay, order_++, std::move(what)});
    std::push_heap(events_.begin(), events_.end());
}

void World::after(Time delay, Replica& replica, std::function<void()> what) {
    after(delay, [&replica, what = std::move(what)]() mutable { replica.execute(std::move(what)); });
}

// --- Replicas -------------------------------------------------------------------------------------------------------

Replica& World::new_replica(const char* kind) {
    replicas_.push_back(std::make_unique<Replica>(*this, fmt::format("{}{}", kind, replicas_.size() + 1)));
    return *replicas_.back();
}

Replica& World::start_primary() {
    Replica& primary = new_replica("P");
    after(Time(0), primary, [&primary] { primary.claim(); });
    return primary;
}

Replica& World::start_backup(Replica& primary) {
    Replica& backup = new_replica("B");
    auto link = std::make_shared<Link>();
    link->ends = {&primary, &backup};
    links_.push_back(link);
    backup.join(link);
    after(milliseconds(500), backup, [&backup] {
        if (!backup.welcomed()) {
            backup.kill(false);
        }
    });
    after(pace_.connecting(), primary, [this, &primary, &backup, link] {
        note(Detail::course, backup.id(), "connects to {} ({})", primary.id(), name(primary.role()));
        primary.candidate_connected(link);
    });
    return backup;
}

void World::kill(Replica& victim, bool with_its_host) {
    ++tally_.kills;
    note(Detail::course, victim.id(), "KILLED as {}, {}", name(victim.role()),
         with_its_host ? "with its host" : "the process");
    victim.kill(with_its_host);
}

void World::stop(Replica& victim) {
    note(Detail::course, victim.id(), "STOPPED as {}", name(victim.role()));
    victim.stop();
}

void World::resume(Replica& victim) {
    if (victim.stopped()) {
        note(Detail::course, victim.id(), "CONTINUES");
        victim.resume();
    }
}

void World::hang(Replica& victim) {
    note(Detail::course, victim.id(), "HANGS as {}, but is heard", name(victim.role()));
    victim.hang();
}

void World::go_on(Replica& victim) {
    if (victim.hangs()) {
        note(Detail::course, victim.id(), "HANGS NO MORE");
        victim.go_on();
    }
}

void World::show_role(Replica& replica, std::optional<Role> before, const std::string& reason) {
    const Role role = replica.role();
    note(Detail::course, replica.id(), "{}{}, generation {}{}",
         before && *before != role ? fmt::format("{} -> ", name(*before)) : "", name(role), replica.generation().value,
         reason.empty() ? "" : ": " + reason);
    tally_.stalls += reason.find("no progress") != std::string::npos ? 1 : 0;
    tally_.undecided_forms += before == Role::forming && role == Role::deciding ? 1 : 0;
    tally_.survivals += before == Role::deciding && role == Role::solo ? 1 : 0;
    tally_.takeovers += before == Role::going_live && role == Role::solo ? 1 : 0;
    if (role == Role::solo) {
        check_alone(replica);
    }
    at_a_tender_moment(replica);
}

void World::terminated(const Replica& replica, const action::Terminate& end) {
    if (end.reason == action::Terminate::Reason::guest_ended) {
        ++tally_.ends;
        ended_at_ = ended_at_.value_or(now_);
        if (!replica.follows()) {
            network_.guest_ended(replica);
        } else if (!network_.guest_has_ended()) {
            violate("{} follows, and ends with its guest before any primary did", replica.id());
        }
    }
    tally_.refused_claims += end.reason == action::Terminate::Reason::claim_refused ? 1 : 0;
    tally_.depositions += end.reason == action::Terminate::Reason::deposed ? 1 : 0;
}

void World::check_alone(const Replica& replica) {
    for (const auto& other : replicas_) {
        if (other.get() != &replica && other->speaks_alone()) {
            violate("{} and {} both speak alone", other->id(), replica.id());
        }
    }
}

void World::lose_arbiter() {
    note(Detail::course, "arbiter", "NO MAJORITY");
    arbiter_.lose_majority();
}

void World::regain_arbiter() {
    if (!arbiter_.has_majority()) {
        note(Detail::course, "arbiter", "HAS A MAJORITY AGAIN");
        arbiter_.regain_majority();
    }
}

// --- The logging channel --------------------------------------------------------------------------------------------

std::vector<std::shared_ptr<Link>> World::links() const {
    std::vector<std::shared_ptr<Link>> links;
    for (const auto& weak : links_) {
        if (auto link = weak.lock()) {
            links.push_back(std::move(link));
        }
    }
    return links;
}

void World::send(const std::shared_ptr<Link>& link, std::size_t to, Message message) {
    auto& way = link->towards[to];
    way.last = std::max(way.last, now_ + pace_.sending_a_message());
    Parcel parcel{std::move(message), way.sent++, true};
    if (const auto* report = std::get_if<ReportMessage>(&parcel.message)) {
        const ReportMessage before = std::exchange(way.told, *report);
        parcel.news = before.received != report->received || before.released != report->released;
    }
    note_parcel(*link, to, parcel, false);
    after(way.last - now_,
          [this, link, to, parcel = std::move(parcel)]() mutable { arrive(link, to, std::move(parcel)); });
}

void World::arrive(const std::shared_ptr<Link>& link, std::size_t to, Parcel parcel) {
    auto& way = link->towards[to];
    if (parcel.number >= way.lost_from) {
        return;
    }
    if (way.cut) {
        way.stuck.push_back(std::move(parcel));
        return;
    }
    Replica& receiver = *link->ends[to];
    receiver.execute(
        [this, link, to, &receiver, parcel = std::move(parcel)]() mutable {
            if (link->open[to] && receiver.link() == link) {
                note_parcel(*link, to, parcel, true);
                receiver.take(std::move(parcel.message));
            }
        },
        Replica::Cause::connection);
}

void World::note_parcel(const Link& link, std::size_t to, const Parcel& parcel, bool received) {
    const Detail detail = parcel.news ? Detail::messages : Detail::everything;
    if (!trace_.keeps(detail)) {
        return;
    }
    const auto& sender = link.ends[1 - to]->id();
    const auto& receiver = link.ends[to]->id();
    if (received) {
        note(detail, receiver, "<- {}: {}", sender, describe(parcel.message));
    } else {
        note(detail, sender, "-> {}: {}", receiver, describe(parcel.message));
    }
}

void World::lose_tail(Link::Direction& way) {
    way.lost_from = way.sent - pace_.lost_with_the_host(way.sent);
}

void World::cut(const std::shared_ptr<Link>& link, std::size_t to) {
    note(Detail::course, "channel", "CUT from {} to {}", link->ends[1 - to]->id(), link->ends[to]->id());
    link->towards[to].cut = true;
}

void World::reset(const std::shared_ptr<Link>& link, std::size_t end, bool both) {
    Replica& replica = *link->ends[end];
    note(Detail::course, "channel", "BREAKS at {}{}", replica.id(), both ? " and at the other end" : "");
    replica.execute(
        [link, &replica, both] {
            if (replica.link() == link) {
                replica.connection_breaks(both);
            }
        },
        Replica::Cause::connection);
}

void World::mend(const std::shared_ptr<Link>& link, std::size_t to) {
    auto& way = link->towards[to];
    if (!std::exchange(way.cut, false)) {
        return;
    }
    note(Detail::course, "channel", "MENDED from {} to {}", link->ends[1 - to]->id(), link->ends[to]->id());
    for (auto& parcel : std::exchange(way.stuck, {})) {
        arrive(link, to, std::move(parcel));
    }
}

}  // namespace understudy::replication::simulation
