// The role machine, told as stories: what goes in, what comes out.
#include "hypervisor/replication/decision/roles.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace understudy::replication {
namespace {

using arbiter::Verdict;
using arbiter::VmState;

std::string show(const Action& action) {
    struct Show {
        std::string operator()(const action::Form& a) const {
            std::string members;
            for (const auto& member : a.request.members) {
                members += member;
            }
            return fmt::format("form#{}({}->{},{})", a.ticket, a.request.expected.value, a.request.next.value, members);
        }
        std::string operator()(const action::TestAndSet& a) const {
            return fmt::format("test_and_set#{}({},{})", a.ticket, a.request.generation.value, a.request.candidate);
        }
        std::string operator()(const action::StartGuest& /*a*/) const { return "start_guest"; }
        std::string operator()(const action::StartTransfer& a) const {
            return fmt::format("start_transfer({},{})", a.peer, a.generation.value);
        }
        std::string operator()(const action::RefusePeer& a) const { return fmt::format("refuse({})", a.peer); }
        std::string operator()(const action::CloseGate& /*a*/) const { return "close_gate"; }
        std::string operator()(const action::OpenGate& /*a*/) const { return "open_gate"; }
        std::string operator()(const action::TellFormed& /*a*/) const { return "tell_formed"; }
        std::string operator()(const action::StopAcknowledging& /*a*/) const { return "stop_acknowledging"; }
        std::string operator()(const action::DropPeer& a) const { return fmt::format("drop({})", a.peer); }
        std::string operator()(const action::DrainLog& /*a*/) const { return "drain_log"; }
        std::string operator()(const action::Speak& a) const {
            return fmt::format("speak({}{})", a.rank.generation.value, a.rank.won ? ",won" : "");
        }
        std::string operator()(const action::Terminate& a) const {
            return fmt::format("terminate({})", static_cast<int>(a.reason));
        }
    };
    return std::visit(Show{}, action);
}

// Runs one replica and writes down what it does: "Role: action action".
class Story {
  public:
    explicit Story(RoleMachine machine) : machine_(std::move(machine)) {}

    std::string operator()(const Event& event) {
        const auto actions = machine_.handle(event);
        std::string line = std::string(name(machine_.role())) + ":";
        for (const Action& action : actions) {
            line += " " + show(action);
        }
        return line;
    }
    RoleMachine& machine() { return machine_; }

  private:
    RoleMachine machine_;
};

Event answer(std::uint64_t ticket, Verdict verdict, std::optional<VmState> current = std::nullopt) {
    return event::ArbiterAnswered{ticket, {verdict, std::move(current), "because"}};
}
Event tick(int ms) {
    return event::Tick{std::chrono::milliseconds(ms)};
}

Story primary() {
    return Story(RoleMachine::claim({"vm", "P"}));
}
Story backup() {
    return Story(RoleMachine::join({"vm", "B"}, "P", {2}));
}

Story solo() {
    Story story = primary();
    story(event::Started{});
    story(answer(1, Verdict::yes));
    return story;
}
Story asked_to_form() {
    Story story = solo();
    story(event::BackupConnected{"B"});
    story(event::BackupReady{"B"});
    story(event::GateClosed{"B", {10}});
    story(event::Acknowledged{"B", {10}});
    return story;
}
Story leading() {
    Story story = asked_to_form();
    story(answer(2, Verdict::yes));
    return story;
}
Story following() {
    Story story = backup();
    story(event::Started{});
    story(event::StateReceived{});
    return story;
}

TEST(Roles, AVmWhoseGuestHasEndedIsClaimedBehindItsLastGeneration) {
    Story p = primary();
    EXPECT_EQ(p(event::Started{}), "Claiming: form#1(0->1,P)");
    EXPECT_EQ(p(answer(1, Verdict::no, VmState{{4}, {}, std::nullopt})), "Claiming: form#2(4->5,P)");
    EXPECT_EQ(p(answer(2, Verdict::yes)), "Solo: speak(5) start_guest");
    // Somebody else was faster.
    Story late = primary();
    late(event::Started{});
    late(answer(1, Verdict::no, VmState{{4}, {}, std::nullopt}));
    EXPECT_EQ(late(answer(2, Verdict::no, VmState{{5}, {"Q"}, std::nullopt})), "Terminated: terminate(0)");
}

TEST(Roles, FromClaimToPairToSurvivor) {
    Story p = primary();
    EXPECT_EQ(p(event::Started{}), "Claiming: form#1(0->1,P)");
    EXPECT_EQ(p(answer(1, Verdict::yes)), "Solo: speak(1) start_guest");
    EXPECT_EQ(p(event::BackupConnected{"B"}), "Forming: start_transfer(B,2)");
    EXPECT_EQ(p(event::BackupConnected{"C"}), "Forming: refuse(C)");
    EXPECT_EQ(p(event::BackupReady{"B"}), "Forming: close_gate");
    EXPECT_EQ(p(event::Acknowledged{"B", {9}}), "Forming:");
    EXPECT_EQ(p(event::GateClosed{"B", {10}}), "Forming:");  // stop 10 left ungated, and 9 is acknowledged
    EXPECT_EQ(p(event::Acknowledged{"B", {10}}), "Forming: form#2(1->2,PB)");
    EXPECT_EQ(p.machine().generation(), Generation{1});
    EXPECT_EQ(p(answer(2, Verdict::yes)), "Leading: tell_formed speak(2)");
    EXPECT_TRUE(p.machine().is_protected());
    EXPECT_EQ(p(event::PeerLost{"B", "silence"}), "Deciding: drop(B) test_and_set#3(2,P)");
    EXPECT_EQ(p(answer(3, Verdict::yes)), "Solo: speak(2,won) open_gate");
    EXPECT_EQ(p(event::BackupConnected{"C"}), "Forming: start_transfer(C,3)");
    EXPECT_EQ(p(event::BackupReady{"C"}), "Forming: close_gate");
    EXPECT_EQ(p(event::Acknowledged{"C", {20}}), "Forming:");
    EXPECT_EQ(p(event::GateClosed{"C", {20}}), "Forming: form#4(2->3,PC)");
}

TEST(Roles, ABackupTakesOver) {
    Story b = backup();
    EXPECT_EQ(b(event::Started{}), "Joining:");
    EXPECT_FALSE(b.machine().may_acknowledge());
    EXPECT_EQ(b(event::StateReceived{}), "Following:");
    EXPECT_TRUE(b.machine().may_acknowledge());
    EXPECT_FALSE(b.machine().is_protected());
    EXPECT_EQ(b(event::PairFormed{}), "Following:");
    EXPECT_TRUE(b.machine().is_protected());
    EXPECT_EQ(b(event::PeerLost{"P", "silence"}), "Deciding: stop_acknowledging drop(P) test_and_set#1(2,B)");
    EXPECT_FALSE(b.machine().may_acknowledge());
    EXPECT_EQ(b(answer(1, Verdict::yes)), "Going live: drain_log");
    EXPECT_EQ(b(event::BackupConnected{"C"}), "Going live: refuse(C)");
    EXPECT_EQ(b(event::LogDrained{}), "Solo: speak(2,won) open_gate");
    EXPECT_EQ(b(event::BackupConnected{"C"}), "Forming: start_transfer(C,3)");
}

TEST(Roles, TheLoserTerminates) {
    Story p = leading();
    p(event::PeerLost{"B", "silence"});
    EXPECT_EQ(p(answer(3, Verdict::no, VmState{{2}, {"P", "B"}, "B"})), "Terminated: terminate(4)");
    EXPECT_EQ(p(event::BackupConnected{"C"}), "Terminated:");
    EXPECT_EQ(p(answer(3, Verdict::yes)), "Terminated:");
}

TEST(Roles, AClaimIsRefusedOrGivenUpButNeverGuessed) {
    Story refused = primary();
    refused(event::Started{});
    EXPECT_EQ(refused(answer(1, Verdict::no, VmState{{3}, {"X"}, {}})), "Terminated: terminate(0)");

    Story silent = primary();
    silent(tick(1000));
    silent(event::Started{});
    EXPECT_EQ(silent(answer(1, Verdict::unknown)), "Claiming:");
    EXPECT_EQ(silent(tick(1049)), "Claiming:");
    EXPECT_EQ(silent(tick(1050)), "Claiming: form#2(0->1,P)");
    EXPECT_EQ(silent(tick(11'000)), "Claiming:");  // an answer is under way
    EXPECT_EQ(silent(answer(2, Verdict::unknown)), "Terminated: terminate(1)");
}

TEST(Roles, ABackupLostBeforeFormWasAskedCostsNothing) {
    for (int progress = 0; progress < 3; ++progress) {
        Story p = solo();
        p(event::BackupConnected{"B"});
        if (progress > 0) {
            p(event::BackupReady{"B"});
        }
        if (progress > 1) {
            p(event::GateClosed{"B", {10}});
        }
        EXPECT_EQ(p(event::PeerLost{"B", "broken"}), "Solo: drop(B) open_gate");
        EXPECT_EQ(p(event::GateClosed{"B", {10}}), "Solo:");    // late
        EXPECT_EQ(p(event::Acknowledged{"B", {99}}), "Solo:");  // late
        EXPECT_EQ(p(event::BackupConnected{"C"}), "Forming: start_transfer(C,2)");
        EXPECT_EQ(p(event::BackupReady{"C"}), "Forming: close_gate");
        EXPECT_EQ(p(event::GateClosed{"B", {10}}), "Forming:");  // late, of another peer
        EXPECT_EQ(p(event::Acknowledged{"B", {99}}), "Forming:");
        EXPECT_EQ(p(event::GateClosed{"C", {50}}), "Forming:");  // nothing of B's counts for C
        EXPECT_EQ(p(event::Acknowledged{"C", {50}}), "Forming: form#2(1->2,PC)");
    }
}

TEST(Roles, ABackupLostWhileFormIsUndecidedIsDecidedByTheNewGeneration) {
    Story p = asked_to_form();
    EXPECT_EQ(p(event::PeerLost{"B", "broken"}), "Deciding: drop(B)");  // the answer is still to come
    EXPECT_EQ(p(answer(2, Verdict::unknown)), "Deciding:");
    EXPECT_EQ(p(tick(50)), "Deciding: form#3(1->2,PB)");  // the same question
    EXPECT_EQ(p(answer(2, Verdict::yes)), "Deciding:");   // stale
    EXPECT_EQ(p(answer(3, Verdict::yes)), "Deciding: test_and_set#4(2,P)");
    EXPECT_EQ(p(answer(4, Verdict::unknown)), "Deciding:");
    EXPECT_EQ(p(tick(99)), "Deciding:");
    EXPECT_EQ(p(tick(100)), "Deciding: test_and_set#5(2,P)");
    EXPECT_EQ(p(answer(5, Verdict::yes)), "Solo: speak(2,won) open_gate");
}

TEST(Roles, AnUnknownFormIsAskedAgainWhileTheBackupLives) {
    Story p = asked_to_form();
    EXPECT_EQ(p(answer(2, Verdict::unknown)), "Forming:");
    EXPECT_EQ(p(tick(50)), "Forming: form#3(1->2,PB)");
    EXPECT_EQ(p(answer(3, Verdict::yes)), "Leading: tell_formed speak(2)");
}

// Otherwise it would tell the arbiter of the end of a generation that may be over, and the VM's name stayed taken.
TEST(Roles, AGuestThatEndsWhileFormIsUndecidedEndsTheGenerationThatComesOfIt) {
    Story p = asked_to_form();
    EXPECT_EQ(p(event::GuestEnded{}), "Forming:");
    EXPECT_EQ(p(answer(2, Verdict::unknown)), "Forming:");
    EXPECT_EQ(p(event::GuestEnded{}), "Forming:");
    EXPECT_EQ(p(tick(50)), "Forming: form#3(1->2,PB)");
    EXPECT_EQ(p(event::GuestEnded{}), "Forming:");
    EXPECT_EQ(p(answer(3, Verdict::yes)), "Leading: tell_formed speak(2)");
    EXPECT_EQ(p(event::GuestEnded{}),
              fmt::format("Terminated: terminate({})", static_cast<int>(action::Terminate::Reason::guest_ended)));
}

TEST(Roles, ARefusedFormThatLeavesTheOwnerIsAskedAgain) {
    Story p = asked_to_form();
    EXPECT_EQ(p(answer(2, Verdict::no, VmState{{1}, {"P"}, {}})), "Forming:");
    EXPECT_EQ(p(tick(50)), "Forming: form#3(1->2,PB)");
    EXPECT_EQ(p(answer(3, Verdict::no, VmState{{2}, {"P", "B"}, "B"})), "Terminated: terminate(4)");
}

// Nothing will ever come of a request that the arbiter does not even consider: not of an earlier copy of it either.
TEST(Roles, ARequestThatTheArbiterCannotConsiderEnds) {
    const event::ArbiterAnswered malformed{2, {Verdict::no, VmState{{1}, {"P"}, {}}, "a name is too long", true}};
    Story p = asked_to_form();
    EXPECT_EQ(p(malformed), "Solo: drop(B) open_gate");
    EXPECT_EQ(p(event::BackupConnected{"C"}), "Forming: start_transfer(C,2)");

    Story lost = asked_to_form();
    lost(event::PeerLost{"B", "broken"});
    EXPECT_EQ(lost(malformed), "Solo: open_gate");
    EXPECT_EQ(lost(event::BackupConnected{"C"}), "Forming: start_transfer(C,2)");
}

TEST(Roles, ABackupWithoutTheWholeStateNeverAsks) {
    Story b = backup();
    EXPECT_EQ(b(event::PeerLost{"P", "broken"}), "Terminated: drop(P) terminate(2)");
}

TEST(Roles, ABackupOfAPairThatIsNotFormedYetAsksAgain) {
    const VmState before{{1}, {"P"}, {}};
    Story late = following();
    late(event::PeerLost{"P", "broken"});
    EXPECT_EQ(late(answer(1, Verdict::no, before)), "Deciding:");
    EXPECT_EQ(late(tick(50)), "Deciding: test_and_set#2(2,B)");
    EXPECT_EQ(late(answer(2, Verdict::yes)), "Going live: drain_log");

    Story never = following();
    never(event::PeerLost{"P", "broken"});
    never(answer(1, Verdict::no, before));
    never(tick(5000));
    EXPECT_EQ(never(answer(2, Verdict::no, before)), "Terminated: terminate(3)");
}

TEST(Roles, WithoutAMajorityNobodyGoesOn) {
    Story b = following();
    b(event::PeerLost{"P", "silence"});
    for (std::uint64_t ticket = 1; ticket < 100; ++ticket) {
        EXPECT_EQ(b(answer(ticket, Verdict::unknown)), "Deciding:");
        EXPECT_EQ(b(tick(static_cast<int>(ticket * 50))), fmt::format("Deciding: test_and_set#{}(2,B)", ticket + 1));
    }
}

// The table stands in docs/protocol.md, row by row as the code has it.
TEST(Roles, TheDocumentedTableIsTheCodes) {
    std::ifstream file(UNDERSTUDY_SOURCE_DIR "/docs/protocol.md");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_NE(text.find("\n" + describe_transitions() + "\n"), std::string::npos) << "docs/protocol.md should contain\n"
                                                                                  << describe_transitions();
}

}  // namespace
}  // namespace understudy::replication
