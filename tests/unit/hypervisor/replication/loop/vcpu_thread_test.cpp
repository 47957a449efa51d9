#include "hypervisor/replication/loop/vcpu_thread.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

#include "tests/unit/hypervisor/replication/loop/wanting_machine.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

// Computes and comes to no stop.
class BusyMachine final : public WantingMachine {
  public:
    std::optional<Stop> run(machine::Budget /*budget*/) override {
        while (!over_) {
        }
        return std::nullopt;
    }
    void abandon() override { over_ = true; }

  private:
    std::atomic<bool> over_ = false;
};

class DeafSink final : public Sink {
  public:
    void mark(const Record& /*mark*/, std::vector<Output> /*outputs*/) override {}
    void accept(const Record& /*record*/, std::vector<Output> /*outputs*/) override {}
    void settled(machine::Machine& /*machine*/) override {}
};

TEST(VcpuThread, TellsWhatItHadOfAProcessor) {
    DeafSink sink;
    VcpuThread thread(std::make_unique<BusyMachine>(), {}, {{}, [] {}, [] {}});
    EXPECT_EQ(thread.processor_time(), 0ns);
    thread.record(sink);
    while (thread.processor_time() < 10ms) {
        std::this_thread::sleep_for(1ms);
    }
    thread.end();
    EXPECT_EQ(thread.processor_time(), 0ns);
}

}  // namespace
}  // namespace understudy::replication
