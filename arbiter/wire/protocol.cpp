#include "arbiter/wire/protocol.hpp"

namespace understudy::arbiter {
namespace {

constexpr std::uint32_t kMagic = 0x42524155;  // "UARB"
constexpr std::size_t kMaxCluster = 64;
constexpr std::size_t kMaxEntries = 65536;
constexpr std::uint16_t kFirstWithIncarnation = 4;
constexpr std::uint16_t kFirstWithFounders = 5;

// Encoder and decoder of each type stand side by side. Type numbers on the wire are the alternatives' places in their
// variants, from 1: they never change meaning, new ones are added behind.

// -- handshake

void put(Encoder& e, const Hello& hello) {
    e.u32(kMagic).u16(hello.version).u8(static_cast<std::uint8_t>(hello.kind)).u64(hello.id).bytes(hello.cluster);
    if (hello.version >= kFirstWithIncarnation) {
        e.u64(hello.incarnation);
    }
    if (hello.version >= kFirstWithFounders) {
        e.u64(hello.founders);
    }
}
void get(Decoder& d, Hello& hello) {
    if (d.u32() != kMagic) {
        d.fail();
    }
    hello.version = d.u16();
    const auto kind = d.u8();
    if (kind < 1 || kind > 2) {
        d.fail();
    }
    hello.kind = static_cast<Hello::Kind>(kind);
    hello.id = d.u64();
    hello.cluster = d.string(kMaxCluster);
    if (hello.version >= kFirstWithIncarnation) {  // an older one is understood, to be refused by name
        hello.incarnation = d.u64();
    }
    if (hello.version >= kFirstWithFounders) {
        hello.founders = d.u64();
    }
}

void put(Encoder& e, const Welcome& welcome) {
    e.u64(welcome.id).bytes(welcome.refusal);
    if (welcome.refusal.empty()) {
        e.u64(welcome.incarnation);
    }
}
void get(Decoder& d, Welcome& welcome) {
    welcome.id = d.u64();
    welcome.refusal = d.string(kMaxText);
    if (welcome.refusal.empty()) {
        welcome.incarnation = d.u64();
    }
}

// -- Raft

void put(Encoder& e, const raft::VoteRequest& m) {
    e.u64(m.for_term).u64(m.last_index).u64(m.last_term).flag(m.pre_vote).flag(m.transfer);
}
void get(Decoder& d, raft::VoteRequest& m) {
    m.for_term = d.u64();
    m.last_index = d.u64();
    m.last_term = d.u64();
    m.pre_vote = d.flag();
    m.transfer = d.flag();
}

void put(Encoder& e, const raft::VoteReply& m) {
    e.u64(m.for_term).flag(m.pre_vote).flag(m.granted);
}
void get(Decoder& d, raft::VoteReply& m) {
    m.for_term = d.u64();
    m.pre_vote = d.flag();
    m.granted = d.flag();
}

void put(Encoder& e, const raft::AppendRequest& m) {
    e.u64(m.previous_index).u64(m.previous_term).u64(m.commit_index).u64(m.round);
    e.u32(static_cast<std::uint32_t>(m.entries.size()));
    for (const auto& entry : m.entries) {
        e.u64(entry.index).u64(entry.term).u8(static_cast<std::uint8_t>(entry.kind)).bytes(entry.data);
    }
}
void get(Decoder& d, raft::AppendRequest& m) {
    m.previous_index = d.u64();
    m.previous_term = d.u64();
    m.commit_index = d.u64();
    m.round = d.u64();
    const auto count = d.count(kMaxEntries);
    for (std::size_t i = 0; i < count && d.ok(); ++i) {
        raft::Entry entry;
        entry.index = d.u64();
        entry.term = d.u64();
        const auto kind = d.u8();
        entry.data = d.string(kMaxMessageBytes);
        entry.kind = static_cast<raft::EntryKind>(kind);
        const bool follows = entry.index == m.previous_index + 1 + i && entry.index != 0 &&
                             entry.term >= (i == 0 ? m.previous_term : m.entries.back().term);
        if (!raft::is_entry_kind(kind) || !follows ||
            (entry.kind == raft::EntryKind::configuration && !raft::Configuration::decode(entry.data))) {
            d.fail();
        }
        m.entries.push_back(std::move(entry));
    }
}

void put(Encoder& e, const raft::AppendReply& m) {
    e.flag(m.success).u64(m.previous_index).u64(m.match_index).u64(m.conflict_term).u64(m.conflict_index).u64(m.round);
}
void get(Decoder& d, raft::AppendReply& m) {
    m.success = d.flag();
    m.previous_index = d.u64();
    m.match_index = d.u64();
    m.conflict_term = d.u64();
    m.conflict_index = d.u64();
    m.round = d.u64();
}

void put(Encoder& e, const raft::SnapshotRequest& m) {
    e.u64(m.last_index).u64(m.last_term).bytes(m.configuration.encode()).u64(m.total).u64(m.offset).bytes(m.chunk);
    e.u64(m.round);
}
void get(Decoder& d, raft::SnapshotRequest& m) {
    m.last_index = d.u64();
    m.last_term = d.u64();
    if (auto configuration = raft::Configuration::decode(d.bytes(raft::kMaxConfiguration))) {
        m.configuration = std::move(*configuration);
    } else {
        d.fail();
    }
    m.total = d.u64();
    m.offset = d.u64();
    m.chunk = d.string(kMaxMessageBytes);
    m.round = d.u64();
}

void put(Encoder& e, const raft::SnapshotReply& m) {
    e.u64(m.last_index).u64(m.received).flag(m.installed).u64(m.round);
}
void get(Decoder& d, raft::SnapshotReply& m) {
    m.last_index = d.u64();
    m.received = d.u64();
    m.installed = d.flag();
    m.round = d.u64();
}

void put(Encoder& /*e*/, const raft::TimeoutNow& /*m*/) {}
void get(Decoder& /*d*/, raft::TimeoutNow& /*m*/) {}

template <typename Variant>
void put_variant(Encoder& e, const Variant& value);
template <typename Variant>
void get_variant(Decoder& d, Variant& value);

void put(Encoder& e, const raft::Message& message) {
    e.u64(message.from).u64(message.to).u64(message.term);
    put_variant(e, message.body);
}
void get(Decoder& d, raft::Message& message) {
    message.from = d.u64();
    message.to = d.u64();
    message.term = d.u64();
    get_variant(d, message.body);
}

// -- requests: what is in them may be out of bounds, so that it can be answered

void put(Encoder& e, const Submit& submit) {
    e.bytes(Command{LogClock{0}, submit.client, submit.sequence, submit.answered_below, submit.operation}.encode());
}
void get(Decoder& d, Submit& submit) {
    if (auto command = Command::decode_request(d.bytes(kMaxMessageBytes)); command && command->clock == LogClock{0}) {
        submit = {command->client, command->sequence, command->answered_below, std::move(command->operation)};
    } else {
        d.fail();
    }
}
void put(Encoder& e, const ReadRequest& read) {
    e.bytes(read.vm);
}
void get(Decoder& d, ReadRequest& read) {
    read.vm = d.string(kMaxMessageBytes);
}
void put(Encoder& e, const ListRequest& list) {
    e.bytes(list.after);
}
void get(Decoder& d, ListRequest& list) {
    list.after = d.string(kMaxMessageBytes);
}
void put(Encoder& /*e*/, const StatusRequest& /*status*/) {}
void get(Decoder& /*d*/, StatusRequest& /*status*/) {}
void put(Encoder& e, const AddServerRequest& add) {
    e.u64(add.id).bytes(add.address);
}
void get(Decoder& d, AddServerRequest& add) {
    add.id = d.u64();
    add.address = d.string(kMaxMessageBytes);
}
void put(Encoder& e, const RemoveServerRequest& remove) {
    e.u64(remove.id);
}
void get(Decoder& d, RemoveServerRequest& remove) {
    remove.id = d.u64();
}
void put(Encoder& e, const TransferRequest& transfer) {
    e.u64(transfer.target);
}
void get(Decoder& d, TransferRequest& transfer) {
    transfer.target = d.u64();
}
void put(Encoder& /*e*/, const SnapshotNowRequest& /*snapshot*/) {}
void get(Decoder& /*d*/, SnapshotNowRequest& /*snapshot*/) {}

void put(Encoder& e, const Request& request) {
    e.u64(request.id);
    put_variant(e, request.body);
}
void get(Decoder& d, Request& request) {
    request.id = d.u64();
    get_variant(d, request.body);
}

// -- replies

void put(Encoder& e, const Redirect& redirect) {
    e.u64(redirect.leader).bytes(redirect.address);
}
void get(Decoder& d, Redirect& redirect) {
    redirect.leader = d.u64();
    redirect.address = d.string(raft::kMaxAddress);
}
void put(Encoder& e, const Answer& answer) {
    encode(e, answer);
}
void get(Decoder& d, Answer& answer) {
    answer = decode_answer(d);
}
void put(Encoder& e, const ReadReply& reply) {
    e.flag(reply.state.has_value());
    if (reply.state) {
        encode(e, *reply.state);
    }
}
void get(Decoder& d, ReadReply& reply) {
    if (d.flag()) {
        reply.state = decode_vm_state(d);
    }
}
void put(Encoder& e, const ListReply& reply) {
    e.u32(static_cast<std::uint32_t>(reply.vms.size()));
    for (const auto& [vm, state] : reply.vms) {
        e.bytes(vm);
        encode(e, state);
    }
    e.flag(reply.more);
}
void get(Decoder& d, ListReply& reply) {
    const auto count = d.count(kListPage);
    for (std::size_t i = 0; i < count && d.ok(); ++i) {
        auto vm = d.string(kMaxName);
        reply.vms.emplace_back(std::move(vm), decode_vm_state(d));
    }
    reply.more = d.flag();
}
void put(Encoder& e, const StatusReply& reply) {
    const auto& raft = reply.raft;
    e.u64(raft.id).u8(static_cast<std::uint8_t>(raft.role)).u64(raft.term).u64(raft.leader).u64(raft.commit_index);
    e.u64(raft.applied_index).u64(raft.last_index).u64(raft.snapshot_index);
    e.u32(static_cast<std::uint32_t>(raft.members.size()));
    for (const auto& member : raft.members) {
        e.u64(member.id).bytes(member.member.address).flag(member.member.voting).u64(member.match_index);
        e.flag(member.active);
    }
    e.u64(reply.vms).u64(reply.sessions).u64(reply.wal_bytes).u64(reply.snapshot_bytes);
}
void get(Decoder& d, StatusReply& reply) {
    auto& raft = reply.raft;
    raft.id = d.u64();
    const auto role = d.u8();
    if (role > static_cast<std::uint8_t>(raft::Role::leader)) {
        d.fail();
    }
    raft.role = static_cast<raft::Role>(role);
    raft.term = d.u64();
    raft.leader = d.u64();
    raft.commit_index = d.u64();
    raft.applied_index = d.u64();
    raft.last_index = d.u64();
    raft.snapshot_index = d.u64();
    const auto count = d.count(raft::kMaxMembers);
    for (std::size_t i = 0; i < count && d.ok(); ++i) {
        raft::MemberStatus member;
        member.id = d.u64();
        member.member.address = d.string(raft::kMaxAddress);
        member.member.voting = d.flag();
        member.match_index = d.u64();
        member.active = d.flag();
        raft.members.push_back(std::move(member));
    }
    reply.vms = d.u64();
    reply.sessions = d.u64();
    reply.wal_bytes = d.u64();
    reply.snapshot_bytes = d.u64();
}
void put(Encoder& e, const DoneReply& reply) {
    e.flag(reply.done).bytes(reply.text);
}
void get(Decoder& d, DoneReply& reply) {
    reply.done = d.flag();
    reply.text = d.string(kMaxText);
}

void put(Encoder& e, const Reply& reply) {
    e.u64(reply.id);
    put_variant(e, reply.body);
}
void get(Decoder& d, Reply& reply) {
    reply.id = d.u64();
    get_variant(d, reply.body);
}

// -- variants: u8 alternative from 1, then its fields

template <typename Variant>
void put_variant(Encoder& e, const Variant& value) {
    e.u8(static_cast<std::uint8_t>(value.index() + 1));
    std::visit([&](const auto& alternative) { put(e, alternative); }, value);
}

template <std::size_t I, typename Variant>
void get_alternative(Decoder& d, Variant& value, std::size_t type) {
    if constexpr (I < std::variant_size_v<Variant>) {
        if (type == I + 1) {
            get(d, value.template emplace<I>());
        } else {
            get_alternative<I + 1>(d, value, type);
        }
    } else {
        d.fail();
    }
}

template <typename Variant>
void get_variant(Decoder& d, Variant& value) {
    get_alternative<0>(d, value, d.u8());
}

}  // namespace

std::string encode_message(const WireMessage& message) {
    std::string bytes;
    Encoder encoder(bytes);
    put_variant(encoder, message);
    return bytes;
}

std::optional<WireMessage> decode_message(std::string_view bytes) {
    Decoder decoder(bytes);
    WireMessage message;
    get_variant(decoder, message);
    if (!decoder.finished()) {
        return std::nullopt;
    }
    return message;
}

}  // namespace understudy::arbiter
