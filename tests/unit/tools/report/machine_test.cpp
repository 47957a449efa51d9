#include "tools/report/machine.hpp"

#include <gtest/gtest.h>

namespace understudy::report {
namespace {

TEST(ProcessorTicks, AreTheSumsOfProcStatsFirstLine) {
    const ProcessorTicks ticks = processor_ticks("cpu  40 5 10 30 7 1 2 5 20 3\ncpu0 1 2 3 4 5 6 7 8 9 10\n");
    EXPECT_EQ(ticks.all, 100) << "what guests had is in the first two already";
    EXPECT_EQ(ticks.stolen, 5);
}

TEST(ProcessorTicks, AreNoneWhereTheLineIsAnother) {
    for (const char* text : {"", "cpu", "cpu 1 2 3", "memory 1 2 3 4 5 6 7 8"}) {
        EXPECT_EQ(processor_ticks(text).all, 0) << text;
    }
}

TEST(ProcessorTicks, TellWhatPartWasStolen) {
    EXPECT_EQ(stolen_percent({.all = 100, .stolen = 10}, {.all = 300, .stolen = 20}), 5);
    EXPECT_EQ(stolen_percent({.all = 100, .stolen = 10}, {.all = 100, .stolen = 10}), 0) << "no time has passed";
}

TEST(Machine, KnowsWhatItWasBusyWith) {
    Machine machine = describe_machine("0.1.0", "kvm_intel");
    EXPECT_GT(machine.ticks_at_start.all, 0);
    note_end(machine);
    EXPECT_GE(machine.stolen_percent, 0);
    EXPECT_LE(machine.stolen_percent, 100);
}

}  // namespace
}  // namespace understudy::report
