// A timeline is JSON as a parser of others reads it.
#include "tools/output/trace_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/property_tree/json_parser.hpp>
#include <boost/property_tree/ptree.hpp>
#include <chrono>
#include <map>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/unit/tools/error_of.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using testing::error_of;
using ::testing::HasSubstr;

boost::property_tree::ptree parsed(const std::filesystem::path& file) {
    boost::property_tree::ptree tree;
    boost::property_tree::read_json(file.string(), tree);
    return tree;
}

TEST(TraceWriter, WritesSpansInstantsAndCountersOnNamedTracks) {
    const TemporaryDirectory directory("understudy-trace");
    const auto file = directory.path() / "trace.json";
    TraceWriter trace(file);
    trace.span("host 1", "leading", 1ms, 3500us, {{"generation", std::uint64_t{2}}});
    trace.instant("clients", "a \"fault\"\n", 2ms);
    trace.counter("lag", 2ms, 6);
    trace.span("host 1", "backwards", 5ms, 4ms);
    trace.close();
    std::map<std::string, boost::property_tree::ptree> by_name;
    std::map<int, std::string> tracks;
    const auto tree = parsed(file);
    for (const auto& entry : tree.get_child("traceEvents")) {
        const auto& event = entry.second;
        if (event.get<std::string>("name") == "thread_name") {
            tracks[event.get<int>("tid")] = event.get<std::string>("args.name");
        } else {
            by_name[event.get<std::string>("name")] = event;
        }
    }
    const auto& leading = by_name.at("leading");
    EXPECT_EQ(leading.get<std::string>("ph"), "X");
    EXPECT_EQ(leading.get<double>("ts"), 1000);
    EXPECT_EQ(leading.get<double>("dur"), 2500);
    EXPECT_EQ(leading.get<int>("args.generation"), 2);
    EXPECT_EQ(tracks.at(leading.get<int>("tid")), "host 1");
    EXPECT_EQ(by_name.at("a \"fault\"\n").get<std::string>("ph"), "i");
    EXPECT_EQ(tracks.at(by_name.at("a \"fault\"\n").get<int>("tid")), "clients");
    EXPECT_EQ(by_name.at("lag").get<double>("args.value"), 6);
    EXPECT_EQ(by_name.at("backwards").get<double>("dur"), 0);
}

TEST(TraceWriter, OfNothingIsATimelineAllTheSame) {
    const TemporaryDirectory directory("understudy-trace");
    TraceWriter trace(directory.path() / "trace.json");
    trace.close();
    EXPECT_TRUE(parsed(directory.path() / "trace.json").get_child("traceEvents").empty());
}

TEST(TraceWriter, SaysWhereItCannotWrite) {
    EXPECT_THAT(error_of([] { const TraceWriter trace("/nowhere/trace.json"); }), HasSubstr("/nowhere/trace.json"));
}

}  // namespace
}  // namespace understudy::tools
