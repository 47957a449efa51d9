#include "arbiter/register/vm_register.hpp"

#include <gtest/gtest.h>

namespace understudy::arbiter {
namespace {

using Record = std::optional<VmRecord>;

Decision claim(Record& record, const ReplicaId& who) {
    return decide(record, FormRequest{"vm", {0}, {1}, who, {who}});
}
Decision ask(Record& record, std::uint64_t generation, const ReplicaId& who) {
    return decide(record, TestAndSetRequest{"vm", {generation}, who});
}

TEST(VmRegister, TheFirstClaimWinsAndMayBeRepeated) {
    Record record;
    EXPECT_TRUE(claim(record, "a").granted);
    EXPECT_TRUE(claim(record, "a").granted);
    EXPECT_EQ(claim(record, "b").reason, Reason::already_claimed);
    EXPECT_EQ(record->state, (VmState{{1}, {"a"}, std::nullopt}));
}

TEST(VmRegister, OneMemberWinsAGeneration) {
    Record record;
    ASSERT_TRUE(claim(record, "a").granted);
    ASSERT_TRUE(decide(record, FormRequest{"vm", {1}, {2}, "a", {"a", "b"}}).granted);
    EXPECT_EQ(ask(record, 1, "a").reason, Reason::other_generation);
    EXPECT_EQ(ask(record, 2, "c").reason, Reason::not_member);
    EXPECT_TRUE(ask(record, 2, "b").granted);
    EXPECT_TRUE(ask(record, 2, "b").granted) << "the winner's question again";
    EXPECT_EQ(ask(record, 2, "a").reason, Reason::lost);
    EXPECT_EQ(record->state.winner, "b");
}

TEST(VmRegister, OnlyTheOwnerFormsTheNextGeneration) {
    Record record;
    ASSERT_TRUE(claim(record, "a").granted);
    const FormRequest by_a{"vm", {1}, {2}, "a", {"a", "b"}};
    EXPECT_EQ(decide(record, FormRequest{"vm", {1}, {2}, "b", {"b"}}).reason, Reason::not_owner);
    EXPECT_TRUE(decide(record, by_a).granted);
    // Two members and no winner yet: nobody owns it.
    EXPECT_EQ(decide(record, FormRequest{"vm", {2}, {3}, "a", {"a"}}).reason, Reason::not_owner);
    ASSERT_TRUE(ask(record, 2, "b").granted);
    EXPECT_TRUE(decide(record, by_a).granted) << "a repeated request gets its first answer";
    EXPECT_EQ(record->state.winner, "b") << "and changes nothing";
    EXPECT_TRUE(decide(record, FormRequest{"vm", {2}, {3}, "b", {"b", "c"}}).granted);
    EXPECT_EQ(decide(record, by_a).reason, Reason::other_generation);
}

TEST(VmRegister, AVmWhoseGuestHasEndedMayBeClaimedAgain) {
    Record record;
    ASSERT_TRUE(claim(record, "a").granted);
    const FormRequest pair{"vm", {1}, {2}, "a", {"a", "b"}};
    ASSERT_TRUE(decide(record, pair).granted);
    EXPECT_EQ(decide(record, EndRequest{"vm", {1}, "a"}).reason, Reason::other_generation);
    EXPECT_EQ(decide(record, EndRequest{"vm", {2}, "c"}).reason, Reason::not_member);
    EXPECT_TRUE(decide(record, EndRequest{"vm", {2}, "a"}).granted);
    EXPECT_TRUE(decide(record, EndRequest{"vm", {2}, "a"}).granted) << "the same request again";
    EXPECT_TRUE(record->state.ended());
    // Nobody who lived in it goes on, or brings it back.
    EXPECT_EQ(ask(record, 2, "b").reason, Reason::not_member);
    EXPECT_EQ(decide(record, pair).reason, Reason::other_generation);
    EXPECT_EQ(decide(record, FormRequest{"vm", {2}, {3}, "a", {"a", "b"}}).reason, Reason::not_owner);
    // Its generations go on.
    EXPECT_EQ(claim(record, "d").reason, Reason::already_claimed);
    EXPECT_TRUE(decide(record, FormRequest{"vm", {2}, {3}, "d", {"d"}}).granted);
    EXPECT_EQ(decide(record, EndRequest{"vm", {2}, "a"}).reason, Reason::other_generation);
}

TEST(VmRegister, OnlyTheWinnerSaysThatItsGuestHasEnded) {
    Record record;
    ASSERT_TRUE(claim(record, "a").granted);
    ASSERT_TRUE(decide(record, FormRequest{"vm", {1}, {2}, "a", {"a", "b"}}).granted);
    ASSERT_TRUE(ask(record, 2, "b").granted);
    EXPECT_EQ(decide(record, EndRequest{"vm", {2}, "a"}).reason, Reason::lost);
    EXPECT_TRUE(decide(record, EndRequest{"vm", {2}, "b"}).granted);
}

TEST(VmRegister, AnOperatorMaySayThatAVmHasEnded) {
    Record record;
    EXPECT_EQ(decide(record, EndRequest{"vm", {1}, ""}).reason, Reason::unknown_vm);
    ASSERT_TRUE(claim(record, "a").granted);
    EXPECT_EQ(decide(record, EndRequest{"vm", {2}, ""}).reason, Reason::other_generation);
    EXPECT_TRUE(decide(record, EndRequest{"vm", {1}, ""}).granted);
    EXPECT_EQ(decide(record, EndRequest{"", {1}, ""}).reason, Reason::invalid);
}

TEST(VmRegister, MalformedRequestsAreRefused) {
    Record record;
    for (const auto& request : {FormRequest{"", {0}, {1}, "a", {"a"}}, FormRequest{"vm", {0}, {0}, "a", {"a"}},
                                FormRequest{"vm", {0}, {1}, "a", {}}, FormRequest{"vm", {0}, {1}, "a", {"b"}},
                                FormRequest{"vm", {0}, {1}, "a", {"a", "a"}},
                                FormRequest{std::string(kMaxName + 1, 'x'), {0}, {1}, "a", {"a"}}}) {
        EXPECT_EQ(decide(record, request).reason, Reason::invalid);
    }
    EXPECT_FALSE(record);
    EXPECT_EQ(ask(record, 1, "a").reason, Reason::unknown_vm);
}

}  // namespace
}  // namespace understudy::arbiter
