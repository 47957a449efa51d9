// Runs a fuzz target over its corpus and over damaged copies of it, where there is no libFuzzer: each input cut at
// every length, with every byte changed, and with a few edits at random places.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

void run(const Input& input) {
    LLVMFuzzerTestOneInput(input.data(), input.size());
}

void cut_and_change(const Input& input) {
    constexpr std::size_t kFirst = 1024;
    for (std::size_t i = 0; i < std::min(input.size(), kFirst); ++i) {
        run(Input(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(i)));
        Input changed = input;
        for (const unsigned flip : {1U, 0x80U, 0xFFU}) {
            changed[i] = static_cast<std::uint8_t>(input[i] ^ flip);
            run(changed);
        }
    }
}

Input damaged(Input input, std::mt19937_64& random) {
    for (std::uint64_t edits = 1 + random() % 4; edits > 0 && !input.empty(); --edits) {
        const auto at = static_cast<std::ptrdiff_t>(random() % input.size());
        switch (random() % 4) {
            case 0:
                input[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(random());
                break;
            case 1:
                input.erase(input.begin() + at);
                break;
            case 2:
                input.insert(input.begin() + at, static_cast<std::uint8_t>(random()));
                break;
            default:
                input.resize(static_cast<std::size_t>(at));
        }
    }
    return input;
}

TEST(Corpus, NoInputBreaksTheDecoder) {
    std::mt19937_64 random(1);
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(UNDERSTUDY_CORPUS)) {
        ++files;
        std::ifstream file(entry.path(), std::ios::binary);
        const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
        const Input input(bytes.begin(), bytes.end());
        run(input);
        cut_and_change(input);
        for (int i = 0; i < 2000; ++i) {
            run(damaged(input, random));
        }
    }
    EXPECT_GT(files, 0U) << "no corpus in " << UNDERSTUDY_CORPUS;
}

}  // namespace
