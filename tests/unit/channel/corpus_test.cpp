// Runs a fuzz target over its corpus and over damaged copies of it, where there is no libFuzzer.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

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
        LLVMFuzzerTestOneInput(input.data(), input.size());
        for (int i = 0; i < 2000; ++i) {
            const Input mutant = damaged(input, random);
            LLVMFuzzerTestOneInput(mutant.data(), mutant.size());
        }
    }
    EXPECT_GT(files, 0U) << "no corpus in " << UNDERSTUDY_CORPUS;
}

}  // namespace
