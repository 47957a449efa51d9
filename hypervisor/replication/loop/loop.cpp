#include "hypervisor/replication/loop/loop.hpp"

#include <utility>

#include "common/digest.hpp"

namespace understudy::replication {
namespace {

std::optional<std::uint64_t> digest_of(const std::vector<Output>& outputs) {
    if (outputs.empty()) {
        return std::nullopt;
    }
    std::uint64_t result = 0;
    for (const Output& output : outputs) {
        result = digest(output.bytes, result + static_cast<std::uint64_t>(output.kind));
    }
    return result;
}

Record describe(const Stop& stop, machine::Machine& machine, const std::vector<Output>& outputs, std::optional<PageRange> pages) {
    Record record;
    record.stop = stop;
    record.digests.registers = machine.registers_digest();
    record.digests.outputs = digest_of(outputs);
    if (pages) {
        record.digests.memory = {*pages, machine.memory_digest(*pages)};
    }
    return record;
}

// Asks the voice, and its successors, until one of them answers.
template <typename Answer, typename Ask>
std::optional<Answer> ask(Voice& voice, const Successor& successor, Ask question) {
    while (voice.source != nullptr) {
        if (std::optional<Answer> answer = question(*voice.source)) {
            return answer;
        }
        voice = successor();
    }
    return std::nullopt;
}

}  // namespace

LoopResult run_loop(machine::Machine& machine, Voice voice, const Successor& successor) {
    Record record;
    for (;;) {
        const auto budget =
            ask<machine::Budget>(voice, successor, [&](Source& source) { return source.budget(machine); });
        if (!budget) {
            return {Ending::no_source, record};
        }
        const std::optional<Stop> stop = machine.run(*budget);
        if (!stop) {
            return {Ending::abandoned, record};
        }
        std::vector<Output> outputs = machine.take_outputs();
        record = describe(*stop, machine, outputs, voice.source->memory_to_compare(machine));
        if (voice.source->must_wait(*stop, machine)) {
            record.mark = true;
            voice.sink->mark(record, std::exchange(outputs, {}));
            record.mark = false;
        }
        std::optional<Input> input =
            ask<Input>(voice, successor, [&](Source& source) { return source.input(record, machine); });
        if (!input) {
            return {Ending::no_source, record};
        }
        record.input = *std::move(input);
        machine.apply(*stop, record.input);
        voice.sink->accept(record, std::move(outputs));
        voice.sink->settled(machine);
        if (stop->kind == StopKind::exit || stop->kind == StopKind::fault) {
            return {stop->kind == StopKind::exit ? Ending::exit : Ending::fault, record};
        }
    }
}

}  // namespace understudy::replication
