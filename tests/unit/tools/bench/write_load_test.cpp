// Clients of a store that loses what it acknowledged, refuses, goes away, or does none of this.
#include "tools/bench/write_load.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using Clock = WriteLoad::Clock;

constexpr std::size_t kClients = 3;

// In memory. Each of its lives is another server's: links of one do not outlive it.
class FakeStore {
  public:
    std::atomic<bool> refuses = false;
    std::atomic<bool> confirms = true;

    [[nodiscard]] WriteTarget target() {
        return {.find = [this](std::size_t, const std::atomic<bool>&) { return std::make_unique<Link>(*this, life_); },
                .retry = 1ms};
    }
    void die() { ++life_; }
    void lose_everything() {
        const std::lock_guard lock(mutex_);
        numbers_.clear();
    }

  private:
    class Link final : public WriteLink {
      public:
        Link(FakeStore& store, unsigned life) : store_(store), life_(life) {}

        bool write(const std::string& key, std::uint64_t number) override {
            expect_alive();
            const std::lock_guard lock(store_.mutex_);
            store_.numbers_[key] = number;
            return store_.confirms;
        }
        std::vector<Reply> read(const std::vector<std::string>& keys) override {
            expect_alive();
            const std::lock_guard lock(store_.mutex_);
            std::vector<Reply> found;
            for (const std::string& key : keys) {
                const auto at = store_.numbers_.find(key);
                found.push_back(at == store_.numbers_.end()
                                    ? Reply{}
                                    : Reply{.kind = Reply::Kind::text, .text = std::to_string(at->second)});
            }
            return found;
        }

      private:
        void expect_alive() const {
            std::this_thread::sleep_for(100us);
            if (store_.life_ != life_) {
                throw Error("it is dead");
            }
            if (store_.refuses) {
                throw Refused("not now");
            }
        }

        FakeStore& store_;
        unsigned life_;
    };

    std::atomic<unsigned> life_ = 0;
    std::mutex mutex_;
    std::map<std::string, std::uint64_t> numbers_;
};

template <typename Condition>
void await(Condition condition) {
    while (!condition()) {
        std::this_thread::sleep_for(1ms);
    }
}

void await_service(const WriteLoad& load) {
    await([&, since = Clock::now()] { return load.all_served_since(since); });
}

WriteFigures check(WriteLoad& load) {
    load.begin_check();
    await([&] { return load.has_checked(); });
    return load.take();
}

TEST(WriteLoad, FindsNothingWrongWithAnHonestStore) {
    FakeStore store;
    WriteLoad load(store.target(), "a", kClients);
    await_service(load);
    load.mark();
    await_service(load);
    const auto figures = check(load);
    EXPECT_GT(figures.acknowledged, 0U);
    EXPECT_EQ(figures.dropped + figures.refused + figures.unconfirmed + figures.unanswered + figures.lost, 0U);
    EXPECT_EQ(load.last_trouble(), "");
}

TEST(WriteLoad, GoesOnWithAnotherServerAndMissesWhatWasLost) {
    FakeStore store;
    WriteLoad load(store.target(), "a", kClients);
    await_service(load);
    load.mark();
    store.lose_everything();
    store.die();
    await_service(load);
    const auto figures = check(load);
    EXPECT_EQ(figures.dropped, kClients);
    EXPECT_LE(figures.unanswered, kClients);
    EXPECT_GT(figures.lost, 0U);
    EXPECT_EQ(figures.contradictions, 0U);
    EXPECT_NE(figures.finding, "");
    EXPECT_GT(load.outage().gap, 0ns);
    EXPECT_GT(load.outage().wait, 0ns);
    EXPECT_EQ(load.last_trouble(), "it is dead");
}

TEST(WriteLoad, ARefusalDropsNoConnection) {
    FakeStore store;
    WriteLoad load(store.target(), "a", kClients);
    await_service(load);
    store.refuses = true;
    await([&] { return load.last_trouble() == "not now"; });
    store.refuses = false;
    await_service(load);
    const auto figures = check(load);
    EXPECT_GT(figures.refused, 0U);
    EXPECT_EQ(figures.dropped + figures.unanswered + figures.lost, 0U);
}

TEST(WriteLoad, WhatTooFewServersHaveIsNotAcknowledged) {
    FakeStore store;
    store.confirms = false;
    WriteLoad load(store.target(), "a", kClients);
    std::uint64_t unconfirmed = 0;
    await([&] {
        const auto figures = load.take();
        EXPECT_EQ(figures.acknowledged, 0U);
        unconfirmed += figures.unconfirmed;
        return unconfirmed > 0;
    });
    store.lose_everything();
    EXPECT_EQ(check(load).lost, 0U);
}

}  // namespace
}  // namespace understudy::tools
