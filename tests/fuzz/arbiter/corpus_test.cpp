// Replays the corpus through the fuzz targets, each input also with every byte changed and at every length: what runs
// where there is no libFuzzer.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/fuzz/arbiter/targets.hpp"

namespace understudy::arbiter::fuzz {
namespace {

void replay(const std::string& folder, void (*target)(std::string_view)) {
    std::size_t inputs = 0;
    for (const auto& file : std::filesystem::directory_iterator(std::string(UNDERSTUDY_SOURCE_DIR) +
                                                                "/tests/fuzz/arbiter/corpus/" + folder)) {
        std::ifstream in(file.path(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(in), {}};
        target(bytes);
        const auto few = std::min<std::size_t>(bytes.size(), 1024);
        for (std::size_t i = 0; i < few; ++i) {
            target(std::string_view(bytes).substr(0, i));
            auto changed = bytes;
            for (const unsigned flip : {1U, 0x80U, 0xFFU}) {
                changed[i] = static_cast<char>(static_cast<unsigned char>(bytes[i]) ^ flip);
                target(changed);
            }
        }
        ++inputs;
    }
    EXPECT_GT(inputs, 0U) << "the corpus is missing";
}

TEST(FuzzCorpus, Wire) {
    replay("wire", wire);
}
TEST(FuzzCorpus, Wal) {
    replay("wal", wal);
}

}  // namespace
}  // namespace understudy::arbiter::fuzz
