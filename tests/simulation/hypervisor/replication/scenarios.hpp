// Scenarios: the protocol's stories, each played once in the simulated world at a steady pace, without chance. What
// happens is compared with the file of the same name in traces/, which is there to be read.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "common/units.hpp"

namespace understudy::replication::simulation {

class Stage;

struct Scenario {
    std::string name;
    std::string about;  // some lines, for the reader
    void (*play)(Stage& stage);
    std::optional<StopNumber> guest_ends_at = std::nullopt;
};

inline std::ostream& operator<<(std::ostream& stream, const Scenario& scenario) {
    return stream << scenario.name;
}

[[nodiscard]] const std::vector<Scenario>& scenarios();

struct Telling {
    std::vector<std::string> lines;
    std::string violation;  // empty: none
};

[[nodiscard]] Telling tell(const Scenario& scenario);

}  // namespace understudy::replication::simulation
