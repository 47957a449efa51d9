#include "hypervisor/gateway/capture.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/bytes.hpp"
#include "common/error.hpp"
#include "common/temporary_directory.hpp"

namespace understudy::network {
namespace {

class CaptureTest : public ::testing::Test {
  protected:
    // The sizes of the frames in a file, as kept.
    static std::vector<std::uint32_t> kept_in(const std::filesystem::path& path) {
        std::ifstream in(path, std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        const auto bytes = as_bytes(text);
        std::vector<std::uint32_t> sizes;
        EXPECT_GE(bytes.size(), 24U);
        EXPECT_EQ(read_little_endian<std::uint32_t>(bytes), 0xa1b23c4dU);
        for (std::size_t at = 24; at < bytes.size(); at += 16 + sizes.back()) {
            sizes.push_back(read_little_endian<std::uint32_t>(bytes.subspan(at + 8)));
        }
        return sizes;
    }

    TemporaryDirectory directory_;
    const std::filesystem::path path_ = directory_.path() / "frames.pcap";
};

TEST_F(CaptureTest, KeepsTheBeginningOfEveryFrame) {
    {
        Capture capture(path_.string());
        capture.frame(std::vector<std::byte>(60));
        capture.frame(std::vector<std::byte>(1514));
    }
    EXPECT_EQ(kept_in(path_), (std::vector<std::uint32_t>{60, Capture::kSnapBytes}));
}

TEST_F(CaptureTest, OfAnEndlessConversationTheLastFramesAreThere) {
    {
        Capture capture(path_.string(), 256_KiB);
        for (int i = 0; i < 20'000; ++i) {
            capture.frame(std::vector<std::byte>(128));
        }
    }
    const auto newest = kept_in(path_).size();
    const auto before = kept_in(path_.string() + ".1").size();
    EXPECT_GE(newest + before, (256U << 10) / 144);
    EXPECT_LE(newest + before, 2 * ((256U + 64U) << 10) / 144);
}

TEST_F(CaptureTest, AFileThatCannotBeMadeIsAnError) {
    EXPECT_THROW(Capture((directory_.path() / "none" / "x").string()), Error);
}

}  // namespace
}  // namespace understudy::network
