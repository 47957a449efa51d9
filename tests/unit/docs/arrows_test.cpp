// The arrows between folders point where docs/architecture.md says.
#include "tests/unit/docs/arrows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace understudy::docs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::filesystem::path kRoot = UNDERSTUDY_SOURCE_DIR;

Rules rules_of_the_tree() {
    std::ifstream page(kRoot / "docs/architecture.md");
    return read_rules(std::string(std::istreambuf_iterator<char>(page), {}));
}

TEST(Arrows, EveryIncludeOfTheTreeFollowsOne) {
    const Rules rules = rules_of_the_tree();
    ASSERT_GE(rules.arrows.size(), 25U);
    ASSERT_GE(rules.enclosures.size(), 5U);
    const auto includes = read_includes(kRoot);
    ASSERT_GE(includes.size(), 2000U);
    for (const Include& include : includes) {
        if (const auto why = objection(rules, include)) {
            ADD_FAILURE() << *why;
        }
    }
}

TEST(Arrows, EveryOneIsNeeded) {
    EXPECT_THAT(unused_arrows(rules_of_the_tree().arrows, read_includes(kRoot)), IsEmpty());
}

constexpr const char* kPage = R"(
| `not/this/` | `table/` |

### Arrows

| folder | may include |
| --- | --- |
| `common/` | |
| `arbiter/` | `common/` |
| `arbiter/client/` | `arbiter/wire/`, `common/` |
| `arbiter/wire/` | `common/` |
| `engine/` | |
| `engine/kvm/` | |
| `machine/` | `engine/`, `gateway/protocol.hpp` |
| `gateway/` | `lwip/` |

| header | only in |
| --- | --- |
| `<linux/kvm.h>`, `<CLI/` | `engine/kvm/` |

## Another section

| `nor/this/` | `table/` |
)";

std::string answer(const std::string& file, const std::string& what) {
    static const Rules rules = read_rules(kPage);
    return objection(rules, {file, 7, what}).value_or("");
}

TEST(Arrows, TheTableIsReadRowByRow) {
    const Rules rules = read_rules(kPage);
    EXPECT_EQ(rules.arrows.size(), 8U);
    EXPECT_THAT(rules.arrows.at("common/"), IsEmpty());
    EXPECT_THAT(rules.arrows.at("machine/"), ElementsAre("engine/", "gateway/protocol.hpp"));
    EXPECT_EQ(rules.enclosures.size(), 2U);
    EXPECT_THAT(rules.enclosures.at("<CLI/"), ElementsAre("engine/kvm/"));
}

TEST(Arrows, WhatIsListedIsAllowedAndSoIsTheFolderItselfAndWhatIsAboveIt) {
    EXPECT_EQ(answer("machine/a.cpp", "\"machine/a.hpp\""), "");
    EXPECT_EQ(answer("machine/a.cpp", "\"machine/code/b.hpp\""), "") << "no row of its own";
    EXPECT_EQ(answer("machine/code/b.cpp", "\"machine/a.hpp\""), "");
    EXPECT_EQ(answer("machine/a.cpp", "\"engine/engine.hpp\""), "");
    EXPECT_EQ(answer("machine/a.cpp", "\"gateway/protocol.hpp\""), "");
    EXPECT_EQ(answer("engine/kvm/a.cpp", "\"engine/engine.hpp\""), "");
    EXPECT_EQ(answer("arbiter/wire/a.cpp", "\"arbiter/mutation.hpp\""), "");
    EXPECT_EQ(answer("gateway/a.cpp", "\"lwip/tcp.h\""), "") << "another project's";
    EXPECT_EQ(answer("machine/a.cpp", "<vector>"), "");
    EXPECT_EQ(answer("engine/kvm/a.cpp", "<linux/kvm.h>"), "");
}

TEST(Arrows, AnythingElseIsNamed) {
    EXPECT_EQ(answer("engine/engine.hpp", "\"machine/a.hpp\""),
              "engine/engine.hpp:7 includes \"machine/a.hpp\": engine/ may include: ");
    EXPECT_EQ(answer("arbiter/wire/a.cpp", "\"arbiter/client/b.hpp\""),
              "arbiter/wire/a.cpp:7 includes \"arbiter/client/b.hpp\": arbiter/wire/ may include: common/");
    EXPECT_THAT(answer("machine/a.cpp", "\"engine/kvm/b.hpp\""), HasSubstr("machine/ may include"))
        << "a folder of its own row";
    EXPECT_THAT(answer("machine/a.cpp", "\"gateway/gateway.hpp\""), HasSubstr("machine/ may include"));
    EXPECT_THAT(answer("machine/a.cpp", "\"tests/a.hpp\""), HasSubstr("machine/ may include"));
    EXPECT_THAT(answer("machine/a.cpp", "\"a.hpp\""), HasSubstr("begins at the repository's root"));
    EXPECT_THAT(answer("newcomer/a.cpp", "\"common/a.hpp\""), HasSubstr("has no row in the table"));
    EXPECT_THAT(answer("machine/a.cpp", "<linux/kvm.h>"), HasSubstr("only engine/kvm/ may"));
    EXPECT_THAT(answer("machine/a.cpp", "<CLI/CLI.hpp>"), HasSubstr("only engine/kvm/ may"));
}

TEST(Arrows, ThatNobodyNeedsAreNamed) {
    EXPECT_THAT(unused_arrows({{"a/", {"b/", "c/x.hpp", "common/"}}, {"b/", {}}, {"c/", {}}},
                              {{"a/a.cpp", 1, "\"b/b.hpp\""}, {"a/a.cpp", 2, "\"c/y.hpp\""}}),
                ElementsAre("a/ → c/x.hpp"));
}

}  // namespace
}  // namespace understudy::docs
