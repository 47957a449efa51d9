#include "tests/simulation/hypervisor/replication/chance.hpp"

#include <algorithm>

namespace understudy::replication::simulation {

using std::chrono::microseconds;
using std::chrono::milliseconds;

std::optional<std::uint64_t> Chance::copied_parts() {
    if (!one_in(8)) {
        return std::nullopt;
    }
    return below(one_in(10) ? 60 : 6);
}

std::optional<Time> Chance::idling() {
    if (may_sleep_ && one_in(5)) {
        return std::nullopt;
    }
    return between(microseconds(500), milliseconds(5));
}

Time Chance::running() {
    return between(microseconds(500), milliseconds(5));
}

Time Chance::replaying_a_record() {
    return between(microseconds(10), one_in(40) ? Time(milliseconds(60)) : Time(milliseconds(2)));
}

Time Chance::handover() {
    return between(microseconds(2), one_in(30) ? Time(milliseconds(8)) : Time(microseconds(60)));
}

Time Chance::leaving() {
    return one_in(20) ? between(microseconds(50), milliseconds(one_in(4) ? 200 : 20)) : Time(0);
}

Time Chance::connecting() {
    return between(microseconds(50), milliseconds(2));
}

Time Chance::sending_a_message() {
    return between(microseconds(30), one_in(20) ? Time(milliseconds(20)) : Time(microseconds(300)));
}

std::uint64_t Chance::parts_of_the_state() {
    return 1 + below(one_in(10) ? 30 : 5);
}

Time Chance::sending_a_part() {
    return between(milliseconds(1), milliseconds(30));
}

std::uint64_t Chance::lost_with_the_host(std::uint64_t sent) {
    return below(std::min<std::uint64_t>(sent + 1, 10));
}

std::vector<Time> Chance::asking() {
    if (!calm_ && one_in(8)) {
        return {};
    }
    std::vector<Time> arrivals(!calm_ && one_in(8) ? 2 : 1);
    for (Time& arrival : arrivals) {
        arrival = !calm_ && one_in(6) ? between(milliseconds(1), milliseconds(800))
                                      : between(microseconds(200), milliseconds(5));
    }
    return arrivals;
}

std::optional<Time> Chance::answering() {
    if (!calm_ && one_in(8)) {
        return std::nullopt;
    }
    return between(microseconds(200), milliseconds(5));
}

}  // namespace understudy::replication::simulation
