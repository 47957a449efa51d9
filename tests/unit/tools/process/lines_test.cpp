#include "tools/process/lines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/unit/tools/error_of.hpp"
#include "tools/process/process.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::error_of;

void write(const FileDescriptor& to, const std::string& text) {
    ASSERT_EQ(::write(to.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

TEST(LineCutter, JoinsWhatComesInPiecesAndKeepsTheLastLine) {
    std::vector<std::string> lines;
    const auto keep = [&](std::string_view line) { lines.emplace_back(line); };
    LineCutter cutter;
    for (const char* const piece : {"on", "e\ntwo\n\nth", "r", "ee"}) {
        cutter.take(piece, keep);
    }
    EXPECT_THAT(lines, ElementsAre("one", "two", ""));
    cutter.end(keep);
    cutter.end(keep);
    EXPECT_THAT(lines, ElementsAre("one", "two", "", "three"));
}

TEST(LineCutter, ALineHasABound) {
    std::vector<std::string> lines;
    LineCutter cutter;
    for (int i = 0; i < 100; ++i) {
        cutter.take(std::string(1000, 'x'), [](std::string_view) { FAIL(); });
    }
    cutter.take("\nnext\n", [&](std::string_view line) { lines.emplace_back(line); });
    EXPECT_THAT(lines, ElementsAre(std::string(LineCutter::kMaxLine, 'x'), "next"));
}

TEST(LineReader, WaitsForEachLineAndSeesTheEnd) {
    Pipe pipe = make_pipe();
    LineReader lines(std::move(pipe.read));
    write(pipe.write, "one\ntwo\nthr");
    EXPECT_EQ(lines.next(10s), "one");
    EXPECT_EQ(lines.next(0s), "two") << "it was there already";
    EXPECT_EQ(error_of([&] { static_cast<void>(lines.next(1ms)); }), "waited 0.0 s for a line");
    write(pipe.write, "ee");
    pipe.write.reset();
    EXPECT_EQ(lines.next(10s), "three");
    EXPECT_EQ(lines.next(10s), std::nullopt);
}

}  // namespace
}  // namespace understudy::tools
