// The sink of a guest that is checkpointed, on a real stream whose keeper does what the test says.
#include "hypervisor/replication/loop/checkpoint_sink.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <optional>
#include <thread>

#include "common/bytes.hpp"
#include "common/error.hpp"
#include "tests/unit/hypervisor/replication/loop/wanting_machine.hpp"

namespace understudy::replication {
namespace {

class WritingMachine final : public WantingMachine {
  public:
    void take_written(machine::WrittenPages& written) override {
        written.take({0}, std::vector<std::byte>(kPageBytes, std::byte{1}));
    }
};

class CheckpointsOfAGuest : public testing::Test {
  protected:
    CheckpointsOfAGuest() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        keeper_.reset(ends[1]);
        sink_.emplace(FileDescriptor(ends[0]), machine_.memory_size(),
                      [this](const std::vector<Output>& /*outputs*/) { ++released_; });
    }
    void stop_at(std::uint64_t number) {
        Record record;
        record.stop = {{number}, StopKind::idle, RequestKind::none, {number}, 0};
        sink_->accept(record, {});
        sink_->checkpoint_soon();
        sink_->settled(machine_);
    }
    void keep(std::uint64_t number) {
        std::array<std::byte, sizeof number> bytes{};
        write_little_endian(bytes.data(), number);
        ASSERT_EQ(::send(keeper_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    }

    WritingMachine machine_;
    FileDescriptor keeper_;
    std::atomic<int> released_ = 0;
    std::optional<CheckpointSink> sink_;
};

TEST_F(CheckpointsOfAGuest, HoldWhatItSaysUntilTheyAreKept) {
    stop_at(1);
    EXPECT_EQ(released_, 0);
    keep(1);
    stop_at(2);  // waits for the first
    EXPECT_EQ(released_, 1);
}

TEST_F(CheckpointsOfAGuest, EndWithoutAKeeperAsAFailure) {
    stop_at(1);
    keeper_.reset();
    EXPECT_THROW(stop_at(2), Error);
}

// Somebody ends the run while its keeper stands still: nothing has failed.
TEST_F(CheckpointsOfAGuest, EndWhenTheRunIsEnded) {
    stop_at(1);
    std::thread guest([this] { EXPECT_NO_THROW(stop_at(2)); });
    sink_->end();
    guest.join();
    EXPECT_NO_THROW(stop_at(3));
    EXPECT_EQ(released_, 0);
}

}  // namespace
}  // namespace understudy::replication
