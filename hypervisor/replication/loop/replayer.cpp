#include "hypervisor/replication/loop/replayer.hpp"

#include <fmt/ranges.h>

#include <utility>

namespace understudy::replication {
namespace {

const char* name_of(StopKind kind) {
    switch (kind) {
        case StopKind::idle:
            return "idle";
        case StopKind::budget:
            return "budget";
        case StopKind::request:
            return "request";
        case StopKind::exit:
            return "exit";
        case StopKind::fault:
            return "fault";
        case StopKind::interrupt:
            return "interrupt";
    }
    return "unknown";
}

void compare(std::vector<std::string>& differences, const char* what, std::uint64_t expected, std::uint64_t actual) {
    if (expected != actual) {
        differences.push_back(fmt::format("{} (log {:#x}, guest {:#x})", what, expected, actual));
    }
}

}  // namespace

std::string difference(const Record& expected, const Record& reached) {
    std::vector<std::string> differences;
    if (expected.stop.kind != reached.stop.kind) {
        differences.push_back(
            fmt::format("stop (log {}, guest {})", name_of(expected.stop.kind), name_of(reached.stop.kind)));
    }
    compare(differences, "stop number", expected.stop.number.value, reached.stop.number.value);
    compare(differences, "request", static_cast<std::uint64_t>(expected.stop.request),
            static_cast<std::uint64_t>(reached.stop.request));
    compare(differences, "instruction count", expected.stop.count.value, reached.stop.count.value);
    compare(differences, "argument", expected.stop.argument, reached.stop.argument);
    compare(differences, "registers", expected.digests.registers, reached.digests.registers);
    if (expected.digests.outputs != reached.digests.outputs) {
        compare(differences, "outputs", expected.digests.outputs.value_or(0), reached.digests.outputs.value_or(0));
    }
    if (expected.digests.memory && expected.digests.memory != reached.digests.memory) {
        const PageRange pages = expected.digests.memory->pages;
        const std::string what =
            pages.count == 0 ? "memory" : fmt::format("memory in the {} pages from {:#x} on", pages.count, pages.first);
        compare(differences, what.c_str(), expected.digests.memory->value,
                reached.digests.memory ? reached.digests.memory->value : 0);
    }
    return fmt::format("{}", fmt::join(differences, ", "));
}

std::optional<Advance> Replayer::advance(const machine::Machine& /*machine*/) {
    if (!expected_) {
        expected_ = feed_.next();
    }
    if (!expected_) {
        return std::nullopt;
    }
    if (expected_->delta) {
        return std::exchange(expected_->delta, nullptr);
    }
    // The interval's end is known. A stop that is no budget stop comes by itself; one count more than the log says is
    // a divergence, and ends the interval.
    const std::uint64_t margin = expected_->stop.kind == StopKind::budget ? 0 : 1;
    return machine::Budget{{expected_->stop.count.value + margin}, false};
}

std::optional<PageRange> Replayer::memory_to_compare(const machine::Machine& /*machine*/) {
    if (!expected_ || !expected_->digests.memory) {
        return std::nullopt;
    }
    return expected_->digests.memory->pages;
}

std::optional<Input> Replayer::input(const Record& reached, machine::Machine& /*machine*/) {
    const std::string differences = difference(*expected_, reached);
    if (!differences.empty()) {
        throw Divergence(
            fmt::format("record {} does not agree with the guest: {}", expected_->stop.number.value, differences));
    }
    if (expected_->mark) {
        expected_ = feed_.next();
        if (!expected_) {
            return std::nullopt;  // the log ends behind a mark: the next source gives this stop its input
        }
        if (expected_->mark || expected_->stop.number != reached.stop.number) {
            throw Divergence(fmt::format("the log is damaged: record {} follows the mark of {}",
                                         expected_->stop.number.value, reached.stop.number.value));
        }
    }
    ++compared_;
    Input input = std::move(expected_->input);
    expected_.reset();
    return input;
}

}  // namespace understudy::replication
