#include "hypervisor/device/block_device.hpp"

#include <gtest/gtest.h>
#include <linux/virtio_blk.h>

#include <cstring>
#include <fstream>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "tests/unit/hypervisor/device/driver.hpp"

namespace understudy::device {
namespace {

using testing::Buffer;
using testing::Driver;

constexpr std::uint64_t kHeader = 0x100000;
constexpr std::uint64_t kStatus = 0x100100;
constexpr std::uint64_t kData = 0x200000;
constexpr std::uint64_t kSectors = 8;

class BlockDeviceTest : public ::testing::Test {
  protected:
    BlockDeviceTest() { EXPECT_TRUE(queues_[0].configure(driver_.queue(), false)); }

    static std::filesystem::path write_image(const std::filesystem::path& path, std::size_t bytes) {
        std::string text(bytes, '\0');
        for (std::size_t i = 0; i < bytes; ++i) {
            text[i] = static_cast<char>('a' + i / 512);
        }
        std::ofstream(path, std::ios::binary) << text;
        return path;
    }
    // Carries out one request with `data` between header and status; returns the status, 0xee where none was written.
    std::uint8_t request(std::uint32_t type, std::uint64_t sector, const std::vector<Buffer>& data) {
        virtio_blk_outhdr header{};
        header.type = type;
        header.sector = sector;
        driver_.store(kHeader, std::as_bytes(std::span(&header, 1)));
        driver_.store(kStatus, "\xee");
        std::vector<Buffer> chain{{kHeader, sizeof header}};
        chain.insert(chain.end(), data.begin(), data.end());
        chain.push_back({kStatus, 1, true});
        driver_.put(chain);
        serve();
        return static_cast<std::uint8_t>(driver_.load(kStatus, 1)[0]);
    }
    void serve() {
        std::vector<Output> outputs;
        block_.collect(queues_, outputs);
        EXPECT_TRUE(outputs.empty());
        used_ = driver_.take_used();
    }

    TemporaryDirectory directory_;
    GuestMemory memory_{64_MiB};
    Driver driver_{memory_, 0x10000, 128};
    std::vector<Virtqueue> queues_{1, Virtqueue(memory_)};
    BlockDevice block_{write_image(directory_.path() / "image", kSectors * 512)};
    std::vector<Driver::Used> used_;
};

TEST_F(BlockDeviceTest, ReadsSectorsIntoWhateverPieces) {
    EXPECT_EQ(request(VIRTIO_BLK_T_IN, 2, {{kData, 512, true}, {kData + 4096, 100, true}}), VIRTIO_BLK_S_OK);
    EXPECT_EQ(used_.at(0).written, 613U);
    EXPECT_EQ(as_text(driver_.load(kData, 512)), std::string(512, 'c'));
    EXPECT_EQ(as_text(driver_.load(kData + 4096, 100)), std::string(100, 'd'));
}

TEST_F(BlockDeviceTest, ReadsBeyondTheImageFail) {
    EXPECT_EQ(request(VIRTIO_BLK_T_IN, kSectors - 1, {{kData, 512, true}}), VIRTIO_BLK_S_OK);
    EXPECT_EQ(request(VIRTIO_BLK_T_IN, kSectors - 1, {{kData, 513, true}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(request(VIRTIO_BLK_T_IN, kSectors, {{kData, 512, true}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(request(VIRTIO_BLK_T_IN, ~std::uint64_t{0}, {{kData, 512, true}}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(request(VIRTIO_BLK_T_IN, (~std::uint64_t{0} >> 9) + 1, {{kData, 512, true}}), VIRTIO_BLK_S_IOERR);
}

// The same memory may be named a hundred times.
TEST_F(BlockDeviceTest, ARequestIsBounded) {
    const BlockDevice large(write_image(directory_.path() / "large", 16U << 20));
    std::vector<Buffer> data(9, Buffer{kData, 1U << 20, true});
    EXPECT_EQ(request(VIRTIO_BLK_T_IN, 0, data), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(used_.at(0).written, 1U);
}

TEST_F(BlockDeviceTest, OtherRequestsAreAnswered) {
    EXPECT_EQ(request(VIRTIO_BLK_T_FLUSH, 0, {}), VIRTIO_BLK_S_OK);
    EXPECT_EQ(request(VIRTIO_BLK_T_OUT, 0, {{kData, 512}}), VIRTIO_BLK_S_UNSUPP);
    EXPECT_EQ(request(VIRTIO_BLK_T_DISCARD, 0, {{kData, 16}}), VIRTIO_BLK_S_UNSUPP);
    EXPECT_EQ(request(VIRTIO_BLK_T_GET_ID, 0, {{kData, VIRTIO_BLK_ID_BYTES, true}}), VIRTIO_BLK_S_OK);
    EXPECT_EQ(as_text(driver_.load(kData, 10)), "understudy");
    EXPECT_EQ(request(VIRTIO_BLK_T_GET_ID, 0, {{kData, VIRTIO_BLK_ID_BYTES - 1, true}}), VIRTIO_BLK_S_IOERR);
}

TEST_F(BlockDeviceTest, WhatIsNoRequestIsGivenBackUntouched) {
    driver_.put({{kHeader, 15}, {kStatus, 1, true}});
    driver_.put({{kHeader, 16}});
    driver_.put({{kStatus, 1, true}});
    driver_.put({{kHeader, 16}, {kStatus, 0, true}});
    serve();
    ASSERT_EQ(used_.size(), 4U);
    for (const Driver::Used& used : used_) {
        EXPECT_EQ(used.written, 0U);
    }
    EXPECT_FALSE(queues_[0].broken());
}

TEST_F(BlockDeviceTest, WhatIsNoImageIsRefused) {
    EXPECT_THROW(BlockDevice(directory_.path() / "none"), Error);
    EXPECT_THROW(BlockDevice(directory_.path()), Error);
    EXPECT_THROW(BlockDevice(write_image(directory_.path() / "odd", 513)), Error);
    EXPECT_THROW(BlockDevice(write_image(directory_.path() / "empty", 0)), Error);
}

TEST_F(BlockDeviceTest, AnImageThatShrinksEndsTheReplica) {
    std::filesystem::resize_file(directory_.path() / "image", 512);
    EXPECT_THROW(request(VIRTIO_BLK_T_IN, 2, {{kData, 512, true}}), Error);
}

}  // namespace
}  // namespace understudy::device
