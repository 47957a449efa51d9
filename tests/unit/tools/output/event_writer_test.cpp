#include "tools/output/event_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::tools {
namespace {

// What a writer of the given form leaves in a file after these events, a second apart.
std::string written(EventWriter::Form form, const std::vector<Event>& events) {
    std::FILE* const file = std::tmpfile();
    {
        std::chrono::steady_clock::time_point now;
        const auto put = [file](std::string_view bytes) { std::fwrite(bytes.data(), 1, bytes.size(), file); };
        EventWriter writer(file, form, put, [&] { return now; });
        auto time = Event::Time{std::chrono::microseconds(1700000000000123)};
        for (const Event& event : events) {
            writer.write(Event(event.kind(), event.fields(), time));
            time += std::chrono::seconds(1);
            now += std::chrono::seconds(1);
        }
    }
    std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
    std::rewind(file);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
    std::fclose(file);
    return text;
}

Event transfer(std::uint64_t done) {
    return {"transfer", {{"bytes_done", done}, {"bytes_total", std::uint64_t{1'000'000}}}};
}
Event lag(std::uint64_t records) {
    return {"lag", {{"records", records}, {"ms", 0.5}}};
}

TEST(EventWriter, TellsEveryProgressToMachinesAndLittleOfItToFiles) {
    std::vector<Event> events{transfer(0), transfer(500'000), transfer(1'000'000)};
    for (std::uint64_t i = 0; i < 21; ++i) {
        events.push_back(lag(i));
    }
    const std::string json = written(EventWriter::Form::json, events);
    EXPECT_EQ(std::ranges::count(json, '\n'), 24);
    const std::string text = written(EventWriter::Form::text, events);
    EXPECT_EQ(std::ranges::count(text, '\n'), 4) << text;
    EXPECT_THAT(text, testing::HasSubstr("transfer bytes_done 1000000, bytes_total 1000000\n"));
    EXPECT_THAT(text, testing::HasSubstr("lag records 0,"));
    EXPECT_THAT(text, testing::HasSubstr("lag records 10,"));
    EXPECT_THAT(text, testing::HasSubstr("lag records 20,"));
}

// Whoever sets the wall clock back does not silence what tells of progress.
TEST(EventWriter, TellsProgressAsOftenWhateverTheWallClockSays) {
    std::string text;
    std::chrono::steady_clock::time_point now;
    std::FILE* const file = std::tmpfile();
    EventWriter writer(
        file, EventWriter::Form::text, [&](std::string_view bytes) { text += bytes; }, [&] { return now; });
    auto wall = Event::Time{std::chrono::hours(24 * 365)};
    for (std::uint64_t i = 0; i < 21; ++i) {
        writer.write(Event("lag", lag(i).fields(), wall));
        now += std::chrono::seconds(1);
        wall -= std::chrono::hours(1);
    }
    std::fclose(file);
    EXPECT_EQ(std::ranges::count(text, '\n'), 3) << text;
    EXPECT_THAT(text, testing::HasSubstr("lag records 20,"));
}

TEST(EventWriter, WritesProgressOverOnATerminal) {
    const Event compared("compared", {{"stops", std::uint64_t{7}}});
    const std::string text =
        written(EventWriter::Form::terminal, {transfer(500'000), lag(3), compared, Event("live", {}), lag(0)});
    EXPECT_THAT(text, testing::StartsWith("\r\x1b[Kstate [###############...............]  50 % of 1.0 MB\r\x1b[K"
                                          "behind by 3 records, 0.5 ms\r\x1b[K"
                                          "behind by 3 records, 0.5 ms; 7 stops compared\r\x1b[K"));
    EXPECT_THAT(text, testing::HasSubstr(" live\n"));
    EXPECT_THAT(written(EventWriter::Form::terminal, {Event("log", {{"records", std::uint64_t{9}},
                                                                    {"copied", std::uint64_t{2}},
                                                                    {"bytes_sent", std::uint64_t{1'500'000}},
                                                                    {"guest_waited_ms", 12.4}})}),
                testing::HasSubstr("\r\x1b[K9 records, 2 of them copied, 1.5 MB sent; the guest waited 12 ms"));
    EXPECT_THAT(text, testing::EndsWith("\r\x1b[K")) << "what is shown last is no lasting news";
}

}  // namespace
}  // namespace understudy::tools
