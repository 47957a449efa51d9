// Checkpoints on a real stream: taken as a whole or not at all, and whatever else arrives is refused.
#include "hypervisor/replication/loop/checkpoint_stream.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <future>
#include <limits>
#include <string>
#include <utility>

#include "common/bytes.hpp"
#include "common/error.hpp"

namespace understudy::replication {
namespace {

using testing::HasSubstr;

std::pair<FileDescriptor, FileDescriptor> connected() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

std::vector<std::byte> pages_of(std::size_t count, std::byte value) {
    return std::vector<std::byte>(count * kPageBytes, value);
}

Stop stop(std::uint64_t number) {
    return {{number}, StopKind::idle, RequestKind::none, {number}, 0};
}

std::byte at(const CheckpointKeeper& keeper, std::uint64_t page) {
    return keeper.memory()[page * kPageBytes];
}

// A sender, and a keeper that takes what comes until there is no more; what it threw, if it did.
class CheckpointStream : public testing::Test {
  protected:
    void keep() {
        kept_ = std::async(std::launch::async, [this]() -> std::string {
            try {
                keeper_ = std::make_unique<CheckpointKeeper>(std::move(ends_.second));
                while (keeper_->take_next()) {
                }
                return "";
            } catch (const Error& error) {
                keeper_.reset();  // and with it the connection
                return error.what();
            }
        });
    }
    void send(std::vector<std::byte> bytes) {
        ASSERT_EQ(::send(ends_.first.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(bytes.size()));
    }
    static std::vector<std::byte> announcing(std::uint64_t memory) {
        std::vector<std::byte> bytes;
        append_little_endian(bytes, memory);
        return bytes;
    }

    std::pair<FileDescriptor, FileDescriptor> ends_ = connected();
    std::unique_ptr<CheckpointKeeper> keeper_;
    std::future<std::string> kept_;
};

TEST_F(CheckpointStream, AKeeperHasTheLastCheckpointThatCameAsAWhole) {
    keep();
    {
        CheckpointSender sender(std::move(ends_.first), 4_MiB);
        sender.send({1, 2, 900}, pages_of(3, std::byte{1}));
        sender.send({901}, pages_of(1, std::byte{1}));
        sender.finish(stop(5), GuestTime{100}, {std::byte{7}});
        sender.send({2}, pages_of(1, std::byte{2}));
        sender.finish(stop(9), GuestTime{200}, {std::byte{8}});
        EXPECT_GT(sender.sent().value, 0u);
        // Begun: as much as leaves the sender's buffer by itself.
        for (int i = 0; i < 3; ++i) {
            std::vector<std::byte> noise(channel::kMaxEncodedPages * kPageBytes);
            for (std::size_t j = 0; j < noise.size(); ++j) {
                noise[j] = static_cast<std::byte>(j * j * 2654435761U >> 13U);
            }
            std::vector<std::uint64_t> numbers(channel::kMaxEncodedPages);
            std::ranges::generate(numbers, [n = i * channel::kMaxEncodedPages]() mutable { return n++; });
            sender.send(numbers, noise);
        }
    }
    EXPECT_EQ(kept_.get(), "");
    EXPECT_EQ(keeper_->figures().checkpoints, 2u);
    EXPECT_EQ(keeper_->figures().pages, 5u);
    EXPECT_EQ(at(*keeper_, 1), std::byte{1});
    EXPECT_EQ(at(*keeper_, 2), std::byte{2});
    EXPECT_EQ(at(*keeper_, 3), std::byte{0});
    EXPECT_EQ(at(*keeper_, 901), std::byte{1});
    EXPECT_EQ(keeper_->processor().front(), std::byte{8});
}

TEST_F(CheckpointStream, RefusesWhatIsNoCheckpoint) {
    send(announcing(1 << 20));
    send({std::byte{9}, std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}, std::byte{6},
          std::byte{7}, std::byte{8}, std::byte{9}, std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}});
    keep();
    EXPECT_THAT(kept_.get(), HasSubstr("no checkpoint"));
}

TEST_F(CheckpointStream, RefusesPagesOutsideMemory) {
    keep();
    CheckpointSender sender(std::move(ends_.first), 1_MiB);
    sender.send({256}, pages_of(1, std::byte{1}));
    EXPECT_THROW(sender.finish(stop(1), GuestTime{0}, {std::byte{7}}), Error);
    EXPECT_THAT(kept_.get(), HasSubstr("no checkpoint"));
}

TEST_F(CheckpointStream, RefusesARecordWithoutAProcessor) {
    keep();
    send(announcing(1 << 20));
    Record record;
    record.stop = stop(1);
    std::vector<std::byte> bytes;
    channel::RecordEncoder().encode(record, bytes);
    send(bytes);
    EXPECT_THAT(kept_.get(), HasSubstr("no checkpoint"));
}

TEST_F(CheckpointStream, RefusesMoreMemoryThanThereIs) {
    for (const std::uint64_t memory :
         {std::uint64_t{0}, std::uint64_t{4097}, std::numeric_limits<std::uint64_t>::max() / kPageBytes * kPageBytes,
          std::uint64_t{1} << 46U}) {
        ends_ = connected();
        send(announcing(memory));
        keep();
        EXPECT_NE(kept_.get(), "") << memory;
    }
}

TEST_F(CheckpointStream, ASenderHearsThatItsKeeperIsGone) {
    CheckpointSender sender(std::move(ends_.first), 1_MiB);
    ends_.second.reset();
    EXPECT_THROW(sender.finish(stop(1), GuestTime{0}, {std::byte{7}}), Error);
}

TEST(CheckpointKeeperAddress, IsOfThisMachineAlone) {
    EXPECT_THROW((void)connect_to_keeper("192.0.2.1:7000"), Error);
    EXPECT_THROW((void)connect_to_keeper("unix:/nowhere/at-all"), Error);
}

}  // namespace
}  // namespace understudy::replication
