#include "tests/simulation/hypervisor/replication/link.hpp"

#include <fmt/format.h>

namespace understudy::replication::simulation {
namespace {

struct Describe {
    std::string operator()(const WelcomeMessage& m) const {
        return fmt::format("welcome to generation {}", m.generation.value);
    }
    std::string operator()(const RefuseMessage& m) const { return "refused: " + m.why; }
    std::string operator()(const StateMessage& m) const {
        return m.guest ? fmt::format("state, all of stop {}", m.guest->stop().value) : "state, a part";
    }
    std::string operator()(const RecordsMessage& m) const {
        std::string text;
        for (const auto& entry : m.entries) {
            text += text.empty() ? "" : ", ";
            if (const auto* record = std::get_if<Record>(&entry)) {
                text += fmt::format("{} {}", record->mark ? "mark" : "record", record->stop.number.value);
            } else {
                text += "part of a copy";
            }
        }
        return text;
    }
    std::string operator()(const ReportMessage& m) const {
        return m.received.value > 0 ? fmt::format("received {}, replayed {}", m.received.value, m.replayed.value)
                                    : fmt::format("released {}", m.released.value);
    }
    std::string operator()(const ReadyMessage& /*m*/) const { return "ready"; }
    std::string operator()(const FormedMessage& /*m*/) const { return "the pair is formed"; }
    std::string operator()(const GoodbyeMessage& m) const { return "goodbye: " + m.why; }
    std::string operator()(const EndMessage& /*m*/) const { return "closes the connection"; }
};

}  // namespace

std::string describe(const Message& message) {
    return std::visit(Describe{}, message);
}

}  // namespace understudy::replication::simulation
