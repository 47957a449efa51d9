#include "tests/simulation/hypervisor/replication/network.hpp"

#include <algorithm>

#include "tests/simulation/hypervisor/replication/world.hpp"

namespace understudy::replication::simulation {

void Network::announced(const Replica& replica, SpeakerRank rank) {
    voices_[replica.id()] = rank;
    const auto [place, first] = ranks_.emplace(std::pair(rank.generation.value, rank.won), replica.id());
    if (!first && place->second != replica.id()) {
        world_.violate("{} and {} announce the same rank", place->second, replica.id());
    }
}

bool Network::hangs_up_on(const Replica& replica) const {
    const auto voice = voices_.find(replica.id());
    return world_.setting().drops_old_voices && voice != voices_.end() && voice->second < highest_;
}

void Network::hear(const Replica& replica, StopNumber stop) {
    const SpeakerRank rank = voices_[replica.id()];
    // (The last words of a guest that has ended are said on the strength of whatever news there is.)
    if (rank < highest_ && replica.was_absent_at(highest_since_) && !replica.guest_is_over()) {
        world_.violate("{} was not there when another took over, and says stop {} on the strength of old news",
                       replica.id(), stop.value);
    }
    if (rank < highest_ && world_.setting().drops_old_voices) {
        return;
    }
    if (rank > highest_) {
        highest_ = rank;
        highest_since_ = world_.now();
    }
    ++outputs_;
    if (StopNumber& last = last_said_[replica.id()]; stop <= last) {
        world_.violate("{} says stop {} after stop {}", replica.id(), stop.value, last.value);
    } else {
        last = stop;
    }
    const auto& lived = replica.life();
    const std::size_t index = Guest::index(stop);
    const std::size_t common = std::min(index, life_.size() - 1);
    if (lived[common] != life_[common]) {
        world_.violate("{} says stop {} of another history than the one heard up to stop {}", replica.id(), stop.value,
                       life_.size() / 2);
        return;
    }
    for (std::size_t i = life_.size(); i <= index; ++i) {
        life_.push_back(lived[i]);
    }
    heard_.resize(std::max<std::size_t>(heard_.size(), stop.value + 1));
    heard_[stop.value] = true;
    last_heard_at_ = world_.now();
}

void Network::guest_ended(const Replica& replica) {
    const auto& lived = replica.life();
    for (StopNumber stop{1}; Guest::index(stop) < lived.size(); stop = stop.next()) {
        const std::size_t index = Guest::index(stop);
        const bool heard = index < life_.size() && heard_[stop.value] && lived[index] == life_[index];
        if (Guest::speaks(lived[index]) && !heard) {
            world_.violate("{} ends with its guest, and what that said at stop {} was never heard", replica.id(),
                           stop.value);
            return;
        }
    }
    const std::uint64_t end = lived[Guest::index({lived.size() / 2})];
    ended_twice_ = ended_twice_ || end_.value_or(end) != end;
    end_ = end;
}

StopNumber Network::swallowed() const {
    for (StopNumber stop{1}; Guest::index(stop) < life_.size(); stop = stop.next()) {
        if (Guest::speaks(life_[Guest::index(stop)]) && !heard_[stop.value]) {
            return stop;
        }
    }
    return {};
}

}  // namespace understudy::replication::simulation
