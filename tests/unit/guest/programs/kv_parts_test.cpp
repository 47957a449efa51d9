// The parts of kv that need no socket: the request parser, patterns, the store's expiry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "guest/programs/kv/command.hpp"
#include "guest/programs/kv/request_parser.hpp"
#include "guest/programs/kv/store.hpp"

namespace understudy::kv {
namespace {

using std::chrono::milliseconds;

// What a stream of bytes comes to: the requests up to its end or its first error.
struct Parsed {
    std::vector<std::vector<std::string>> requests;
    std::string error;
    bool operator==(const Parsed&) const = default;
};

// Gives the parser the stream in pieces, as a connection does.
Parsed parse(std::string_view stream, std::mt19937* pieces) {
    RequestLimits limits;
    limits.inline_length = 200;
    limits.argument_length = 1000;
    limits.request_length = 2000;
    limits.arguments = 20;
    RequestParser parser(limits);
    Parsed parsed;
    std::string waiting;
    while (!stream.empty() && parsed.error.empty()) {
        const std::size_t piece = pieces == nullptr ? stream.size() : 1 + (*pieces)() % 20;
        waiting += stream.substr(0, piece);
        stream.remove_prefix(std::min(piece, stream.size()));
        while (!waiting.empty()) {
            const auto status = parser.parse(waiting);
            if (status == RequestParser::Status::kIncomplete) {
                break;
            }
            if (status == RequestParser::Status::kError) {
                parsed.error = parser.error();
                break;
            }
            parsed.requests.emplace_back(parser.arguments().begin(), parser.arguments().end());
            EXPECT_LE(parser.length(), waiting.size());
            EXPECT_GT(parser.length(), 0U);
            waiting.erase(0, parser.length());
            parser.next();
        }
    }
    return parsed;
}

TEST(RequestParser, ReadsTheSameHoweverTheStreamIsCut) {
    std::size_t requests = 0;
    std::size_t errors = 0;
    for (unsigned seed = 0; seed < 3000; ++seed) {
        std::mt19937 random(seed);
        std::string stream;
        for (auto i = random() % 12; i > 0; --i) {
            const auto arguments = 1 + random() % 4;
            stream += "*" + std::to_string(arguments) + "\r\n";
            for (auto j = arguments; j > 0; --j) {
                const std::string argument(random() % 40, static_cast<char>(random()));
                stream += "$" + std::to_string(argument.size()) + "\r\n" + argument + "\r\n";
            }
            if (random() % 3 == 0) {
                stream += "inline 'a b' \"c\\n\"\r\n";
            }
        }
        if (random() % 3 == 0 && !stream.empty()) {
            stream[random() % stream.size()] = static_cast<char>(random());
        }
        std::mt19937 pieces(seed);
        const Parsed whole = parse(stream, nullptr);
        ASSERT_EQ(parse(stream, &pieces), whole) << "seed " << seed;
        requests += whole.requests.size();
        errors += whole.error.empty() ? 0 : 1;
    }
    EXPECT_GT(requests, 10'000U);
    EXPECT_GT(errors, 100U);
}

TEST(RequestParser, TakesAnArrayOfNothingForNoRequest) {
    EXPECT_THAT(parse("*0\r\n*-1\r\n\r\n", nullptr).requests, testing::Each(testing::IsEmpty()));
}

TEST(Pattern, MatchesAsAShellDoes) {
    for (const auto& [pattern, text] : std::vector<std::pair<std::string, std::string>>{{"*", ""},
                                                                                        {"*", "abc"},
                                                                                        {"a*c", "abbc"},
                                                                                        {"a*b*c", "a-b-b-c"},
                                                                                        {"a?c", "abc"},
                                                                                        {"[a-c]x", "bx"},
                                                                                        {"[^a-c]x", "dx"},
                                                                                        {"[c-a]", "b"},
                                                                                        {"\\*", "*"},
                                                                                        {"[\\]]", "]"},
                                                                                        {"k\\", "k\\"},
                                                                                        {"**a", "aa"}}) {
        EXPECT_TRUE(matches(pattern, text)) << pattern << " " << text;
    }
    for (const auto& [pattern, text] : std::vector<std::pair<std::string, std::string>>{{"", "a"},
                                                                                        {"a", ""},
                                                                                        {"?", ""},
                                                                                        {"a*c", "abd"},
                                                                                        {"[a-c]x", "dx"},
                                                                                        {"[^a-c]x", "bx"},
                                                                                        {"[abc", "d"},
                                                                                        {"\\*", "x"},
                                                                                        {"*a", "ab"}}) {
        EXPECT_FALSE(matches(pattern, text)) << pattern << " " << text;
    }
}

TEST(Pattern, TakesNoExponentialTime) {
    EXPECT_FALSE(matches("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", std::string(10'000, 'a')));
}

TEST(IndexRange, StaysInside) {
    constexpr std::int64_t kLeast = INT64_MIN;
    constexpr std::int64_t kMost = INT64_MAX;
    for (const std::int64_t start :
         {kLeast, std::int64_t{-6}, std::int64_t{-1}, std::int64_t{0}, std::int64_t{4}, kMost}) {
        for (const std::int64_t stop :
             {kLeast, std::int64_t{-5}, std::int64_t{0}, std::int64_t{4}, std::int64_t{5}, kMost}) {
            for (const std::size_t size : {0U, 1U, 5U}) {
                const IndexRange range = index_range(start, stop, size);
                EXPECT_LE(range.begin, range.end);
                EXPECT_LE(range.end, size);
            }
        }
    }
    EXPECT_EQ(index_range(-2, -1, 5).begin, 3U);
    EXPECT_EQ(index_range(-2, -1, 5).end, 5U);
}

TEST(Store, DropsKeysWhenTheirTimeHasCome) {
    Store store;
    store.advance(milliseconds(1000));
    store.assign("a", "1");
    store.set_expiry("a", milliseconds(1010));
    store.assign("b", "2");
    store.set_expiry("b", milliseconds(1005));
    store.assign("c", "3");
    EXPECT_EQ(store.next_expiry(), milliseconds(1005));
    EXPECT_EQ(store.size(), 3U);

    store.advance(milliseconds(1005));
    EXPECT_EQ(store.find("b"), nullptr);
    EXPECT_NE(store.find("a"), nullptr);
    EXPECT_EQ(store.size(), 2U);
    EXPECT_EQ(store.next_expiry(), milliseconds(1010));

    store.set_expiry("a", kNever);
    EXPECT_EQ(store.next_expiry(), kNever);
    store.advance(milliseconds(5000));
    EXPECT_NE(store.find("a"), nullptr);
}

TEST(Store, SeesNoExpiredKeyThatIsStillWaitingToBeDropped) {
    Store store;
    for (int i = 0; i < 5000; ++i) {
        const std::string key = "k" + std::to_string(i);
        store.assign(key, "v");
        store.set_expiry(key, milliseconds(10));
    }
    store.advance(milliseconds(20));
    EXPECT_GT(store.size(), 0U) << "dropping is bounded";
    int seen = 0;
    store.for_each([&](std::string_view) { ++seen; });
    EXPECT_EQ(seen, 0);
    EXPECT_EQ(store.find("k4999"), nullptr);
    // A new value of an old name does not die with the old one.
    store.assign("k4998", "new");
    for (int i = 0; i < 10; ++i) {
        store.advance(milliseconds(21));
    }
    EXPECT_NE(store.find("k4998"), nullptr);
    EXPECT_EQ(store.size(), 1U);
}

TEST(SortedSet, OrdersByScoreAndThenByName) {
    SortedSet set;
    EXPECT_TRUE(set.add("b", 1));
    EXPECT_TRUE(set.add("a", 1));
    EXPECT_TRUE(set.add("c", 0));
    EXPECT_FALSE(set.add("c", 2));
    std::vector<std::string> names;
    for (const auto& [score, name] : set.order()) {
        names.push_back(name);
    }
    EXPECT_THAT(names, testing::ElementsAre("a", "b", "c"));
    EXPECT_TRUE(set.remove("a"));
    EXPECT_FALSE(set.remove("a"));
    EXPECT_EQ(set.score("c"), 2);
}

}  // namespace
}  // namespace understudy::kv
