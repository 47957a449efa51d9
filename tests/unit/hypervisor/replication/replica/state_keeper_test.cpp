#include "hypervisor/replication/replica/state_keeper.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "hypervisor/memory/guest_memory.hpp"
#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::replication {
namespace {

using ::testing::HasSubstr;

class StateKeeping : public ::testing::Test {
  protected:
    [[nodiscard]] channel::LogHeader header() const {
        channel::LogHeader header;
        header.vm = "web";
        header.engine = "kvm";
        header.guest.memory = memory_.size();
        return header;
    }
    [[nodiscard]] StateKeeper keeper(const std::filesystem::path& path) {
        return {path, header(), memory::prepare_snapshot(memory_), channel::testing::bytes_of("vcpu")};
    }
    static void begin(StateKeeper& keeper) {
        while (!keeper.ready()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        keeper.begin();
    }

    memory::GuestMemory memory_{16_MiB};
    TemporaryDirectory directory_;
    std::filesystem::path file_ = directory_.path() / "state.log";
};

TEST_F(StateKeeping, TheFileHasWhatMemoryWasWhenItBegan) {
    std::ranges::fill(memory_.all(), std::byte{1});
    StateKeeper writing = keeper(file_);
    begin(writing);
    std::ranges::fill(memory_.all(), std::byte{2});  // the guest goes on
    writing.finish();

    channel::LogReader log(file_);
    EXPECT_EQ(log.header(), header());
    std::vector<std::byte> kept(memory_.size().value);
    EXPECT_EQ(log.read_state(kept), channel::testing::bytes_of("vcpu"));
    EXPECT_TRUE(std::ranges::all_of(kept, [](std::byte byte) { return byte == std::byte{1}; }));
}

TEST_F(StateKeeping, OfAFileThatCannotBeWrittenIsToldWhy) {
    std::ranges::fill(memory_.all(), std::byte{1});
    StateKeeper writing = keeper(directory_.path() / "nowhere" / "state.log");
    begin(writing);
    try {
        writing.finish();
        FAIL();
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("nowhere/state.log"));
    }
}

TEST_F(StateKeeping, WhatIsGivenUpLeavesNoPartOfAFile) {
    StateKeeper writing = keeper(file_);
    writing.give_up();
    begin(writing);
    EXPECT_THROW(writing.finish(), Error);
    EXPECT_FALSE(std::filesystem::exists(file_));
}

}  // namespace
}  // namespace understudy::replication
