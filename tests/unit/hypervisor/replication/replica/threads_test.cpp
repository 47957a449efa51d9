// What a replica's two threads share, used by two threads at once: nothing is lost, reordered or waited for in vain.
// Under the preset tsan this is also what looks for races in it.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "hypervisor/machine/small_machine.hpp"
#include "hypervisor/replication/loop/recorder.hpp"
#include "hypervisor/replication/replica/handover.hpp"
#include "tests/unit/hypervisor/machine/idle_engine.hpp"

namespace understudy::replication {
namespace {

constexpr std::uint64_t kItems = 20'000;

Record record(std::uint64_t stop) {
    Record result;
    result.stop.number = {stop};
    return result;
}

// More than it holds: the vCPU's thread has to wait for room again and again.
TEST(Threads, TheOutboxHandsEverythingOverInOrder) {
    std::atomic<int> wakes = 0;
    Outbox box([&] {
        ++wakes;
        wakes.notify_one();
    });
    std::jthread vcpu([&] {
        for (std::uint64_t i = 1; i <= kItems; ++i) {
            const bool urgent = i % 7 == 0 || i == kItems;
            box.put(Replayed{{i}, GuestTime(0), {}},
                    urgent ? Outbox::Urgency::at_once : Outbox::Urgency::when_convenient);
        }
    });
    std::uint64_t taken = 0;
    for (int seen = 0; taken < kItems; ++seen) {
        wakes.wait(seen);
        for (const Handover& item : box.take()) {
            ASSERT_EQ(std::get<Replayed>(item).stop.value, ++taken);
        }
    }
}

TEST(Threads, AReleasedOutboxHoldsNobody) {
    Outbox box([] {});
    std::jthread vcpu([&] {
        for (std::uint64_t i = 1; i <= kItems; ++i) {
            box.put(Replayed{{i}, GuestTime(0), {}});
        }
    });
    box.release();
    vcpu.join();
    EXPECT_EQ(box.take().size(), kItems);
}

TEST(Threads, TheFeedDeliversWhatCameBeforeItWasClosed) {
    ChannelFeed feed;
    std::jthread io([&] {
        for (std::uint64_t i = 1; i <= kItems; ++i) {
            feed.push(record(i));
        }
        feed.close();
    });
    std::uint64_t taken = 0;
    while (const auto next = feed.next()) {
        ASSERT_EQ(next->stop.number.value, ++taken);
    }
    EXPECT_EQ(taken, kItems);
}

TEST(Threads, AnAbandonedFeedEndsAWait) {
    ChannelFeed feed;
    std::jthread io([&] { feed.abandon(); });
    EXPECT_FALSE(feed.next());
}

TEST(Threads, TheInputQueueWakesAWaitForFramesAndForPokes) {
    InputQueue queue({.frames = 64});
    std::atomic<bool> all_pushed = false;
    std::uint64_t accepted = 0;
    std::jthread io([&] {
        for (std::uint64_t i = 0; i < kItems; ++i) {
            accepted += queue.push(Frame(14)) ? 1 : 0;
            if (i % 16 == 0) {
                queue.poke();
            }
        }
        all_pushed = true;
        queue.poke();
    });
    std::uint64_t taken = 0;
    for (bool last = false; !last;) {
        queue.wait_until(InputQueue::Clock::time_point::max());
        last = all_pushed;
        taken += queue.take(64, 1U << 20).size();
    }
    io.join();
    EXPECT_EQ(taken, accepted);
    EXPECT_TRUE(queue.empty());
}

TEST(Threads, TheBrakeLetsGoOfWhoeverItHolds) {
    Brake brake;
    std::atomic<bool> over = false;
    std::jthread io([&] {
        while (!over) {
            brake.set(true);
            brake.set(false);
        }
    });
    for (std::uint64_t i = 0; i < kItems; ++i) {
        brake.wait();
    }
    over = true;
}

// The I/O thread looks at the recorder, and kicks, while the vCPU's thread goes from stop to stop.
TEST(Threads, TheRecorderIsWatchedWhileItWorks) {
    class Engine final : public machine::IdleEngine {
      public:
        engine::Exit run() override { return engine::PortOut{abi::kPortBudget, 0}; }
    };
    machine::SmallMachine machine(
        8_MiB, [](std::span<std::byte>, const engine::BootState&) { return std::make_unique<Engine>(); });
    InputQueue queue({.frames = 64});
    Recorder recorder(queue, {}, GuestTime{0});
    std::atomic<bool> over = false;
    std::uint64_t overdue = 0;
    std::jthread io([&] {
        while (!over) {
            queue.push(Frame(14));
            if (recorder.guest_runs()) {
                machine.kick(machine::Kick::anywhere);
            }
            overdue += recorder.overdue() ? 1 : 0;
        }
        machine.abandon();
    });
    std::uint64_t stops = 0;
    for (bool running = true; running;) {
        const auto advance = recorder.advance(machine);
        const auto stop = machine.run(std::get<machine::Budget>(*advance));
        running = stop.has_value();
        if (running) {
            Record reached;
            reached.stop = *stop;
            static_cast<void>(recorder.memory_to_compare(machine));
            machine.apply(*stop, *recorder.input(reached, machine));
            if (++stops == kItems) {
                over = true;
            }
        }
    }
    EXPECT_GE(stops, kItems);
}

}  // namespace
}  // namespace understudy::replication
