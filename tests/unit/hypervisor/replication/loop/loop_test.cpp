// The one loop, from voice to voice.
#include "hypervisor/replication/loop/loop.hpp"

#include <gtest/gtest.h>

#include "tests/unit/hypervisor/replication/loop/wanting_machine.hpp"

namespace understudy::replication {
namespace {

// A source that goes so many stops, ends within one if asked, and would wait at each idle stop.
class ShortSource final : public Source {
  public:
    ShortSource(int stops, bool waits) : left_(stops), waits_(waits) {}

    std::optional<Advance> advance(const machine::Machine& /*machine*/) override {
        return left_ >= 0 ? std::optional<Advance>(machine::Budget{}) : std::nullopt;
    }
    std::optional<PageRange> memory_to_compare(const machine::Machine& /*machine*/) override { return std::nullopt; }
    bool must_wait(const Stop& /*stop*/, machine::Machine& /*machine*/) override { return waits_; }
    std::optional<Input> input(const Record& /*reached*/, machine::Machine& /*machine*/) override {
        return left_-- > 0 ? std::optional<Input>(Input{}) : std::nullopt;
    }

  private:
    int left_;
    bool waits_;
};

class ListeningSink final : public Sink {
  public:
    void mark(const Record& mark, std::vector<Output> outputs) override { note("mark", mark, outputs); }
    void accept(const Record& record, std::vector<Output> outputs) override { note("record", record, outputs); }
    void settled(machine::Machine& /*machine*/) override {}

    std::vector<std::string> heard;

  private:
    void note(const char* what, const Record& record, const std::vector<Output>& outputs) {
        heard.push_back(std::string(what) + " " + std::to_string(record.stop.number.value) +
                        (outputs.empty() ? "" : " with outputs"));
    }
};

Stop idle_stop(std::uint64_t number) {
    Stop stop;
    stop.number = {number};
    stop.kind = StopKind::idle;
    return stop;
}

// A backup replayed up to a mark and goes live there: what was said at that stop must not wait for the guest to wake.
TEST(Loop, WhoGoesLiveAtAMarkSaysAtOnceWhatWasSaidThere) {
    WantingMachine machine;
    machine.stops = {idle_stop(1)};
    machine.outputs = {Output{Output::Kind::console, {std::byte{'x'}}}};
    ShortSource log(0, false);  // ends within the stop
    ShortSource world(1, true);
    ListeningSink silent;
    ListeningSink live;
    const LoopResult result = run_loop(machine, {&log, &silent}, [&] { return Voice{&world, &live}; });
    EXPECT_EQ(result.ending, Ending::abandoned);
    EXPECT_TRUE(silent.heard.empty());
    EXPECT_EQ(live.heard, (std::vector<std::string>{"mark 1 with outputs", "record 1"}));
}

TEST(Loop, AMarkComesOnlyWhereTheWorldIsWaitedFor) {
    WantingMachine machine;
    machine.stops = {idle_stop(1)};
    machine.outputs = {Output{Output::Kind::console, {std::byte{'x'}}}};
    ShortSource log(0, false);
    ShortSource world(1, false);
    ListeningSink silent;
    ListeningSink live;
    static_cast<void>(run_loop(machine, {&log, &silent}, [&] { return Voice{&world, &live}; }));
    EXPECT_EQ(live.heard, std::vector<std::string>{"record 1 with outputs"});
}

}  // namespace
}  // namespace understudy::replication
