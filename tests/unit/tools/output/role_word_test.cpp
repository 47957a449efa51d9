#include "tools/output/role_word.hpp"

#include <gtest/gtest.h>

#include <string>

namespace understudy::tools {
namespace {

// docs/operating.md lists them.
TEST(RoleWord, IsTheDocumentedOneAndIsReadBack) {
    for (const std::string word :
         {"claiming", "solo", "forming", "leading", "joining", "following", "deciding", "going_live", "terminated"}) {
        const auto role = parse_role(word);
        ASSERT_TRUE(role) << word;
        EXPECT_EQ(role_word(*role), word);
    }
}

TEST(RoleWord, AnotherWordIsNoRole) {
    EXPECT_FALSE(parse_role(""));
    EXPECT_FALSE(parse_role("master"));
}

}  // namespace
}  // namespace understudy::tools
