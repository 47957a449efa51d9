#include "hypervisor/replication/decision/output_gate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

namespace understudy::replication {
namespace {

Output say(std::uint64_t stop, int part = 0) {
    const std::string text = std::to_string(stop) + "." + std::to_string(part);
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    return {Output::Kind::frame, {data, data + text.size()}};
}

using Outputs = std::vector<Output>;

TEST(OutputGate, OpenNothingWaits) {
    OutputGate gate;
    EXPECT_EQ(gate.take({1}, {say(1)}), Outputs{say(1)});
    EXPECT_EQ(gate.take({2}, {}), Outputs{});
    EXPECT_EQ(gate.released_up_to(), StopNumber{2});
    EXPECT_EQ(gate.held(), Bytes{0});
}

TEST(OutputGate, ClosedOutputsWaitForTheirAcknowledgement) {
    OutputGate gate;
    static_cast<void>(gate.take({1}, {say(1)}));
    EXPECT_EQ(gate.close(), StopNumber{1});
    EXPECT_EQ(gate.take({2}, {say(2, 0), say(2, 1)}), Outputs{});
    EXPECT_EQ(gate.take({3}, {say(3)}), Outputs{});
    EXPECT_EQ(gate.held(), Bytes{9});
    EXPECT_EQ(gate.acknowledge({1}), Outputs{});
    EXPECT_EQ(gate.released_up_to(), StopNumber{1});
    EXPECT_EQ(gate.acknowledge({2}), (Outputs{say(2, 0), say(2, 1)}));
    EXPECT_EQ(gate.released_up_to(), StopNumber{2});
    EXPECT_EQ(gate.open(), Outputs{say(3)});
    EXPECT_EQ(gate.released_up_to(), StopNumber{3});
}

TEST(OutputGate, AnAcknowledgementMayComeBeforeTheOutputs) {
    OutputGate gate;
    gate.close();
    EXPECT_EQ(gate.acknowledge({1}), Outputs{});
    EXPECT_EQ(gate.released_up_to(), StopNumber{0});
    EXPECT_EQ(gate.take({1}, {say(1)}), Outputs{say(1)});
    EXPECT_EQ(gate.take({2}, {say(2)}), Outputs{});
}

TEST(OutputGate, WhatAnEarlierBackupAcknowledgedReleasesNothingLater) {
    OutputGate gate;
    gate.close();
    static_cast<void>(gate.take({1}, {}));
    static_cast<void>(gate.acknowledge({1}));
    static_cast<void>(gate.open());
    static_cast<void>(gate.take({2}, {say(2)}));
    EXPECT_EQ(gate.close(), StopNumber{2});
    EXPECT_EQ(gate.take({3}, {say(3)}), Outputs{});
}

TEST(OutputRetention, KeepsWhatWasNotReportedReleased) {
    OutputRetention retention;
    retention.keep({1}, {say(1)});
    retention.keep({2}, {say(2)});
    retention.released({1});
    retention.released({4});  // ahead of the replay
    EXPECT_EQ(retention.kept(), Bytes{0});
    retention.keep({3}, {say(3)});
    retention.keep({5}, {say(5)});
    retention.released({2});  // late
    EXPECT_EQ(retention.kept(), Bytes{3});
    EXPECT_EQ(retention.go_live(), Outputs{say(5)});
}

// Random interleavings of stops, acknowledgements, closings and openings: nothing leaves before it may, nothing is
// lost, order is kept.
TEST(OutputGateProperty, NothingLeavesEarlyNothingIsLostOrderIsKept) {
    for (std::uint64_t seed = 0; seed < 3000; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        std::mt19937_64 random(seed);
        OutputGate gate;
        std::uint64_t taken = 0;
        std::uint64_t acknowledged = 0;  // by the present backup
        std::uint64_t ungated = 0;       // the last stop taken while nothing had to wait
        bool open = true;
        Outputs expected;
        Outputs left;
        std::vector<std::uint64_t> stop_of_output;
        const auto leave = [&](Outputs outputs) { std::ranges::move(outputs, std::back_inserter(left)); };
        for (int step = 0; step < 200; ++step) {
            switch (random() % 8) {
                case 0:
                    ungated = open ? taken : ungated;
                    if (open) {
                        EXPECT_EQ(gate.close(), StopNumber{taken});
                        acknowledged = 0;
                    }
                    open = false;
                    break;
                case 1:
                    leave(gate.open());
                    ungated = taken;
                    open = true;
                    break;
                case 2:
                case 3:
                    if (taken > ungated || random() % 2 == 0) {  // what was sent: up to the stop under way
                        const std::uint64_t up_to = random() % (taken + 1);
                        acknowledged = std::max(acknowledged, up_to);
                        leave(gate.acknowledge({up_to}));
                    }
                    break;
                default: {
                    ++taken;
                    Outputs outputs;
                    for (std::uint64_t i = random() % 3; i > 0; --i) {
                        outputs.push_back(say(taken, static_cast<int>(i)));
                        stop_of_output.push_back(taken);
                    }
                    std::ranges::copy(outputs, std::back_inserter(expected));
                    leave(gate.take({taken}, std::move(outputs)));
                    ungated = open ? taken : ungated;
                }
            }
            ASSERT_LE(left.size(), expected.size());
            ASSERT_TRUE(std::equal(left.begin(), left.end(), expected.begin()));
            const std::uint64_t allowed = std::max(ungated, acknowledged);
            const auto due =
                static_cast<std::size_t>(std::ranges::upper_bound(stop_of_output, allowed) - stop_of_output.begin());
            ASSERT_EQ(left.size(), due) << "step " << step;
            std::uint64_t held = 0;
            for (std::size_t i = due; i < expected.size(); ++i) {
                held += expected[i].bytes.size();
            }
            ASSERT_EQ(gate.held(), Bytes{held});
        }
        leave(gate.open());
        ASSERT_EQ(left, expected);
    }
}

}  // namespace
}  // namespace understudy::replication
