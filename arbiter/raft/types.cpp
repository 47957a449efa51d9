#include "arbiter/raft/types.hpp"

#include <algorithm>

#include "common/codec.hpp"

namespace understudy::raft {
namespace {

// In the encoding of a member.
constexpr std::uint8_t kVotes = 1;
constexpr std::uint8_t kHasIncarnation = 2;

}  // namespace

std::string_view name(Role role) {
    switch (role) {
        case Role::follower:
            return "follower";
        case Role::pre_candidate:
            return "pre-candidate";
        case Role::candidate:
            return "candidate";
        case Role::leader:
            return "leader";
    }
    return "?";
}

bool Configuration::votes(NodeId id) const {
    const auto it = members.find(id);
    return it != members.end() && it->second.voting;
}

std::size_t Configuration::voters() const {
    return static_cast<std::size_t>(
        std::count_if(members.begin(), members.end(), [](const auto& member) { return member.second.voting; }));
}

std::string Configuration::encode() const {
    std::string out;
    Encoder encoder(out);
    encoder.u32(static_cast<std::uint32_t>(members.size()));
    for (const auto& [id, member] : members) {
        const bool named = member.incarnation != 0;
        const int flags = (member.voting ? kVotes : 0) | (named ? kHasIncarnation : 0);
        encoder.u64(id).u8(static_cast<std::uint8_t>(flags)).bytes(member.address);
        if (named) {
            encoder.u64(member.incarnation);
        }
    }
    return out;
}

std::optional<Configuration> Configuration::decode(std::string_view bytes) {
    Decoder decoder(bytes);
    Configuration result;
    const auto count = decoder.count(kMaxMembers);
    for (std::size_t i = 0; i < count && decoder.ok(); ++i) {
        const NodeId id = decoder.u64();
        Member member;
        const auto flags = decoder.u8();
        const bool named = (flags & kHasIncarnation) != 0;
        member.voting = (flags & kVotes) != 0;
        member.address = decoder.string(kMaxAddress);
        member.incarnation = named ? decoder.u64() : 0;
        if (flags > (kVotes | kHasIncarnation) || (named && member.incarnation == 0)) {
            decoder.fail();
        }
        if (id == 0 || (!result.members.empty() && id <= result.members.rbegin()->first)) {
            decoder.fail();  // one encoding for each configuration: in the order of the ids
        }
        result.members.emplace(id, std::move(member));
    }
    if (!decoder.finished() || result.voters() == 0) {
        return std::nullopt;
    }
    return result;
}

}  // namespace understudy::raft
