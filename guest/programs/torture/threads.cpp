// Threads: locks, conditions, futexes, thread-local state.
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <ctime>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "guest/programs/torture/torture.hpp"

namespace understudy::torture {
namespace {

// Who gets the lock when is the scheduler's choice, and part of what a replay repeats.
void contention(Context& context) {
    std::mutex mutex;
    Checksum order;
    std::vector<std::thread> threads;
    const std::uint64_t rounds = context.random.between(1, 40);
    for (std::uint64_t i = context.random.between(2, 8); i > 0; --i) {
        threads.emplace_back([&, i, seed = context.random.next()] {
            Random random(seed);
            for (std::uint64_t round = 0; round < rounds; ++round) {
                {
                    const std::lock_guard lock(mutex);
                    order.add(i);
                    if (random.one_in(4)) {
                        sched_yield();
                    }
                }
                if (random.one_in(8)) {
                    const timespec pause{0, static_cast<long>(random.below(300'000))};
                    nanosleep(&pause, nullptr);
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    context.seen.add(order.value());
}

void producer_and_consumer(Context& context) {
    std::mutex mutex;
    std::condition_variable filled;
    std::condition_variable emptied;
    std::deque<std::uint64_t> queue;
    const std::uint64_t items = context.random.between(10, 300);
    const std::size_t most = context.random.between(1, 16);
    Checksum taken;
    std::thread consumer([&] {
        for (std::uint64_t i = 0; i < items; ++i) {
            std::unique_lock lock(mutex);
            filled.wait(lock, [&] { return !queue.empty(); });
            taken.add(queue.front());
            taken.add(queue.size());
            queue.pop_front();
            emptied.notify_one();
        }
    });
    for (std::uint64_t i = 0; i < items; ++i) {
        std::unique_lock lock(mutex);
        emptied.wait(lock, [&] { return queue.size() < most; });
        queue.push_back(context.random.next());
        filled.notify_one();
    }
    consumer.join();
    context.seen.add(taken.value());
}

// What each thread has for itself: x87 control word, rounding, signal mask, stack.
void own_state(Context& context) {
    static thread_local std::uint64_t own = 0;
    std::atomic<std::uint64_t> sum = 0;
    std::vector<std::thread> threads;
    for (std::uint64_t i = context.random.between(2, 6); i > 0; --i) {
        threads.emplace_back([&, i] {
            std::uint16_t word = static_cast<std::uint16_t>(0x37f | (i & 3U) << 10U);
            __asm__ volatile("fldcw %0" : : "m"(word));
            for (int round = 0; round < 20; ++round) {
                own += i;
                sched_yield();
                std::uint16_t now = 0;
                __asm__ volatile("fnstcw %0" : "=m"(now));
                expect(now == word, "a thread keeps its x87 control word");
            }
            sum += own;
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    context.seen.add(sum.load());
}

void nothing(int /*signal*/) {}

// Signals to threads that sleep.
void interrupted(Context& context) {
    struct sigaction action {};
    action.sa_handler = nothing;
    sigaction(SIGUSR2, &action, nullptr);
    std::atomic<bool> done = false;
    std::atomic<std::uint64_t> interruptions = 0;
    std::thread sleeper([&] {
        while (!done) {
            const timespec pause{0, 500'000};
            interruptions += nanosleep(&pause, nullptr) != 0 ? 1U : 0U;
        }
    });
    for (std::uint64_t i = context.random.between(1, 20); i > 0; --i) {
        pthread_kill(sleeper.native_handle(), SIGUSR2);
        const timespec pause{0, static_cast<long>(context.random.below(400'000))};
        nanosleep(&pause, nullptr);
    }
    done = true;
    sleeper.join();
    context.seen.add(interruptions.load());
}

constexpr std::array kOperations = {
    Operation{"contention", contention},
    Operation{"producer-and-consumer", producer_and_consumer},
    Operation{"own-state", own_state},
    Operation{"interrupted", interrupted},
};

}  // namespace

std::span<const Operation> thread_operations() {
    return kOperations;
}

}  // namespace understudy::torture
