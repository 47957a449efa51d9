#include "tools/output/patient_output.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "tools/output/patient_log.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class PatientOutputTest : public testing::Test {
  protected:
    void SetUp() override { ASSERT_EQ(::pipe2(pipe_.data(), O_CLOEXEC), 0); }
    void TearDown() override {
        output_.reset();
        close(0);
        close(1);
    }
    void close(std::size_t end) {
        if (pipe_.at(end) >= 0) {
            ::close(std::exchange(pipe_.at(end), -1));
        }
    }
    // All until `last` is at the end.
    std::string read_until(const std::string& last) {
        std::string text;
        std::array<char, 4096> part{};
        while (!text.ends_with(last)) {
            const ssize_t n = ::read(pipe_[0], part.data(), part.size());
            if (n <= 0) {
                break;
            }
            text.append(part.data(), static_cast<std::size_t>(n));
        }
        return text;
    }

    std::array<int, 2> pipe_{-1, -1};
    std::optional<PatientOutput> output_;
};

TEST_F(PatientOutputTest, WhatAReaderTakesIsWrittenAtOnce) {
    output_.emplace(pipe_[1]);
    output_->write("a line\n");
    ASSERT_EQ(::fcntl(pipe_[0], F_SETFL, O_NONBLOCK), 0);  // it is there already
    EXPECT_EQ(read_until("\n"), "a line\n");
}

TEST_F(PatientOutputTest, NobodyReadsAndTheWriterGoesOn) {
    output_.emplace(pipe_[1], 100'000);
    for (int i = 0; i < 100'000; ++i) {  // far more than pipe and limit hold
        output_->write("0123456789abcde\n");
    }
    const std::string text = read_until("read them\n");
    EXPECT_THAT(text, StartsWith("0123456789abcde\n0123456789abcde\n"));
    EXPECT_THAT(text, HasSubstr("abcde\nunderstudy: "));
    EXPECT_THAT(text, EndsWith(" bytes of output were dropped, as nobody read them\n"));
    output_->write("and on\n");
    EXPECT_EQ(read_until("on\n"), "and on\n");
}

TEST_F(PatientOutputTest, ALogThatNobodyReadsStopsNobody) {
    const auto before = spdlog::default_logger();
    log_patiently("server", pipe_[1]);
    spdlog::warn("the first line");
    for (int i = 0; i < 100'000; ++i) {
        spdlog::warn("one of many lines");
    }
    EXPECT_THAT(read_until("read them\n"), HasSubstr("the first line"));
    close(0);
    const auto sigpipe = std::signal(SIGPIPE, SIG_IGN);
    spdlog::set_default_logger(before);
    std::signal(SIGPIPE, sigpipe);
}

TEST_F(PatientOutputTest, WhatWaitsIsWrittenBeforeTheEnd) {
    output_.emplace(pipe_[1]);
    const std::string text = std::string(200'000, 'x') + "\n";
    output_->write(text);
    std::thread reader([&] { EXPECT_EQ(read_until("\n"), text); });
    output_.reset();
    reader.join();
}

// A second from the end on, however long nobody had read before.
TEST_F(PatientOutputTest, AReaderThatPausedHasASecondAtTheEnd) {
    output_.emplace(pipe_[1]);
    const std::string text = std::string(200'000, 'x') + "\n";
    output_->write(text);
    std::this_thread::sleep_for(1200ms);
    std::thread reader([&] {
        std::this_thread::sleep_for(100ms);
        EXPECT_EQ(read_until("\n"), text);
    });
    output_.reset();
    close(1);  // whoever waits for what was dropped reads the end
    reader.join();
}

TEST_F(PatientOutputTest, TheEndDoesNotWaitForEverForAReader) {
    output_.emplace(pipe_[1]);
    output_->write(std::string(200'000, 'x'));
    output_.reset();
}

TEST_F(PatientOutputTest, AReaderThatIsGoneIsNoError) {
    const auto before = std::signal(SIGPIPE, SIG_IGN);
    output_.emplace(pipe_[1]);
    close(0);
    output_->write("to nobody\n");
    output_->write(std::string(200'000, 'x'));
    output_.reset();
    std::signal(SIGPIPE, before);
}

}  // namespace
}  // namespace understudy::tools
