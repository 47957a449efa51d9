#include "hypervisor/replication/loop/loop.hpp"

#include <utility>

#include "common/digest.hpp"
#include "logging_channel/page_codec.hpp"

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

Record describe(const Stop& stop, machine::Machine& machine, const std::vector<Output>& outputs,
                std::optional<PageRange> pages) {
    Record record;
    record.stop = stop;
    record.digests.registers = machine.registers_digest();
    record.digests.outputs = digest_of(outputs);
    if (pages) {
        record.digests.memory = {*pages, machine.memory_digest(*pages)};
    }
    return record;
}

// The guest at the stop that it was left at elsewhere.
std::optional<Stop> take_over(machine::Machine& machine, const Delta& delta, channel::PageDecoder& decoder) {
    for (const EncodedPages& pages : delta.pages) {
        const auto content = decoder.decode(pages);
        if (!content || !machine.overwrite(pages.numbers, *content)) {
            throw Error("the log is damaged: what was copied of an interval does not fit the guest");
        }
    }
    return machine.take_over(delta.processor);
}

std::optional<Stop> run(machine::Machine& machine, machine::Budget budget, Sink& sink) {
    budget.written = sink.written_pages();
    return machine.run(budget);
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

// Whoever has to wait for it lets the outputs go first: a successor, too, that takes the voice within this stop.
std::optional<Input> input_at(machine::Machine& machine, Record& record, std::vector<Output>& outputs, Voice& voice,
                              const Successor& successor) {
    return ask<Input>(voice, successor, [&](Source& source) {
        if (source.must_wait(record.stop, machine)) {
            record.mark = true;
            voice.sink->mark(record, std::exchange(outputs, {}));
            record.mark = false;
        }
        return source.input(record, machine);
    });
}

}  // namespace

LoopResult run_loop(machine::Machine& machine, Voice voice, const Successor& successor) {
    Record record;
    channel::PageDecoder decoder;
    for (;;) {
        const auto advance = ask<Advance>(voice, successor, [&](Source& source) { return source.advance(machine); });
        if (!advance) {
            return {Ending::no_source, record};
        }
        const auto* const budget = std::get_if<machine::Budget>(&*advance);
        const std::optional<Stop> stop =
            budget != nullptr ? run(machine, *budget, *voice.sink)
                              : take_over(machine, *std::get<std::shared_ptr<const Delta>>(*advance), decoder);
        if (!stop) {
            return {Ending::abandoned, record};
        }
        std::vector<Output> outputs = machine.take_outputs();
        record = describe(*stop, machine, outputs, voice.source->memory_to_compare(machine));
        if (stop->kind == StopKind::interrupt && voice.sink->written_pages() != nullptr) {
            record.delta = std::make_shared<Delta>(Delta{machine.processor(), {}});
        }
        std::optional<Input> input = input_at(machine, record, outputs, voice, successor);
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
