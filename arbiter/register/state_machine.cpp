#include "arbiter/register/state_machine.hpp"

#include <utility>

#include "arbiter/mutation.hpp"

namespace understudy::arbiter {
namespace {

constexpr std::uint8_t kCommandVersion = 1;
constexpr std::uint32_t kSnapshotVersion = 2;
constexpr std::uint64_t kMaxClock = 0x7FFFFFFFFFFFFFFFULL;

}  // namespace

std::string Command::encode() const {
    std::string out;
    Encoder encoder(out);
    encoder.u8(kCommandVersion).u64(static_cast<std::uint64_t>(clock.count()));
    encoder.u64(client.high).u64(client.low).u64(sequence).u64(answered_below);
    encoder.u8(static_cast<std::uint8_t>(operation.index() + 1));
    if (const auto* form = std::get_if<FormRequest>(&operation)) {
        encoder.bytes(form->vm).u64(form->expected.value).u64(form->next.value).bytes(form->proposer);
        encoder.u32(static_cast<std::uint32_t>(form->members.size()));
        for (const auto& member : form->members) {
            encoder.bytes(member);
        }
    } else if (const auto* test = std::get_if<TestAndSetRequest>(&operation)) {
        encoder.bytes(test->vm).u64(test->generation.value).bytes(test->candidate);
    } else if (const auto* end = std::get_if<EndRequest>(&operation)) {
        encoder.bytes(end->vm).u64(end->generation.value).bytes(end->replica);
    }
    return out;
}

std::optional<Command> Command::decode(std::string_view bytes) {
    auto command = decode_request(bytes);
    return command && within_bounds(command->operation) ? std::move(command) : std::nullopt;
}

// The bytes bound what they name.
std::optional<Command> Command::decode_request(std::string_view bytes) {
    Decoder decoder(bytes);
    Command command;
    if (decoder.u8() != kCommandVersion) {
        return std::nullopt;
    }
    const auto clock = decoder.u64();
    if (clock > kMaxClock) {
        return std::nullopt;
    }
    command.clock = LogClock(static_cast<LogClock::rep>(clock));
    command.client.high = decoder.u64();
    command.client.low = decoder.u64();
    command.sequence = decoder.u64();
    command.answered_below = decoder.u64();
    switch (decoder.u8()) {
        case 1: {
            FormRequest form;
            form.vm = decoder.string(bytes.size());
            form.expected.value = decoder.u64();
            form.next.value = decoder.u64();
            form.proposer = decoder.string(bytes.size());
            const auto count = decoder.count(bytes.size() / sizeof(std::uint32_t));
            for (std::size_t i = 0; i < count && decoder.ok(); ++i) {
                form.members.push_back(decoder.string(bytes.size()));
            }
            command.operation = std::move(form);
            break;
        }
        case 2: {
            TestAndSetRequest test;
            test.vm = decoder.string(bytes.size());
            test.generation.value = decoder.u64();
            test.candidate = decoder.string(bytes.size());
            command.operation = std::move(test);
            break;
        }
        case 3: {
            EndRequest end;
            end.vm = decoder.string(bytes.size());
            end.generation.value = decoder.u64();
            end.replica = decoder.string(bytes.size());
            command.operation = std::move(end);
            break;
        }
        default:
            return std::nullopt;
    }
    if (!decoder.finished()) {
        return std::nullopt;
    }
    return command;
}

void encode(Encoder& encoder, const Answer& answer) {
    encoder.flag(answer.granted).u8(static_cast<std::uint8_t>(answer.reason));
    encoder.flag(answer.current.has_value());
    if (answer.current) {
        encode(encoder, *answer.current);
    }
}

Answer decode_answer(Decoder& decoder) {
    Answer answer;
    answer.granted = decoder.flag();
    const auto reason = decoder.u8();
    if (reason > static_cast<std::uint8_t>(Reason::not_permitted)) {
        decoder.fail();
    }
    answer.reason = static_cast<Reason>(reason);
    if (decoder.flag()) {
        answer.current = decode_vm_state(decoder);
    }
    return answer;
}

Applied StateMachine::apply(const Command& command) {
    clock_ = std::max(clock_, command.clock);
    while (!by_activity_.empty() && clock_ - by_activity_.front().last_active > kSessionIdle) {
        sessions_.erase(by_activity_.front().client);
        by_activity_.pop_front();
    }
    Session* session = session_of(command);
    if (session == nullptr) {
        return {{false, Reason::full, std::nullopt}, false};
    }
    session->answered_below = std::max(session->answered_below, command.answered_below);
    session->answers.erase(session->answers.begin(), session->answers.lower_bound(session->answered_below));
    if (command.sequence < session->answered_below) {
        return {{false, Reason::superseded, std::nullopt}, true};
    }
    if (const auto it = session->answers.find(command.sequence);
        it != session->answers.end() && !mutated(Mutation::no_dedup)) {
        return {it->second, true};
    }
    if (command.sequence - session->answered_below >= kMaxOutstanding) {
        return {{false, Reason::invalid, std::nullopt}, false};
    }
    Answer answer = execute(command.operation);
    session->answers[command.sequence] = answer;
    return {std::move(answer), false};
}

// The client's session, opened by its first command; nullptr when there are too many.
StateMachine::Session* StateMachine::session_of(const Command& command) {
    auto it = sessions_.find(command.client);
    if (it == sessions_.end()) {
        if (sessions_.size() >= kMaxSessions) {
            return nullptr;
        }
        by_activity_.push_back({command.client, clock_, 0, {}});
        it = sessions_.emplace(command.client, std::prev(by_activity_.end())).first;
    }
    by_activity_.splice(by_activity_.end(), by_activity_, it->second);
    it->second->last_active = clock_;
    return &*it->second;
}

Answer StateMachine::execute(const VmOperation& operation) {
    const auto it = vms_.find(vm_of(operation));
    std::optional<VmRecord> record;
    if (it != vms_.end()) {
        record = it->second;
    }
    const auto decision = decide(record, operation);
    if (decision.granted) {
        if (it != vms_.end()) {
            it->second = *record;
        } else if (vms_.size() >= kMaxVms) {
            return {false, Reason::full, std::nullopt};
        } else {
            vms_.emplace(vm_of(operation), *record);
        }
    }
    Answer answer{decision.granted, decision.reason, std::nullopt};
    if (record) {
        answer.current = std::move(record->state);
    }
    return answer;
}

std::optional<VmState> StateMachine::read(const VmId& vm) const {
    const auto it = vms_.find(vm);
    return it == vms_.end() ? std::nullopt : std::optional(it->second.state);
}

std::vector<std::pair<VmId, VmState>> StateMachine::list(const VmId& after, std::size_t limit) const {
    std::vector<std::pair<VmId, VmState>> result;
    for (auto it = vms_.upper_bound(after); it != vms_.end() && result.size() < limit; ++it) {
        result.emplace_back(it->first, it->second.state);
    }
    return result;
}

std::string StateMachine::snapshot() const {
    std::string out;
    Encoder encoder(out);
    encoder.u32(kSnapshotVersion).u64(static_cast<std::uint64_t>(clock_.count())).u64(vms_.size());
    for (const auto& [vm, record] : vms_) {
        encoder.bytes(vm);
        encode(encoder, record);
    }
    const bool forget = mutated(Mutation::dedup_not_in_snapshot);
    encoder.u64(forget ? 0 : by_activity_.size());
    for (const auto& session : by_activity_) {
        if (forget) {
            break;
        }
        encoder.u64(session.client.high).u64(session.client.low);
        encoder.u64(static_cast<std::uint64_t>(session.last_active.count())).u64(session.answered_below);
        encoder.u32(static_cast<std::uint32_t>(session.answers.size()));
        for (const auto& [sequence, answer] : session.answers) {
            encoder.u64(sequence);
            encode(encoder, answer);
        }
    }
    return out;
}

bool StateMachine::restore(std::string_view bytes) {
    StateMachine restored;
    if (bytes.empty()) {  // the snapshot that a new cluster starts from
        *this = std::move(restored);
        return true;
    }
    Decoder decoder(bytes);
    if (decoder.u32() != kSnapshotVersion) {
        return false;
    }
    const auto clock = [&] { return LogClock(static_cast<LogClock::rep>(decoder.u64() & kMaxClock)); };
    restored.clock_ = clock();
    const auto vms = decoder.u64();
    if (vms > kMaxVms) {
        return false;
    }
    for (std::uint64_t i = 0; i < vms && decoder.ok(); ++i) {
        auto vm = decoder.string(kMaxName);
        restored.vms_.emplace_hint(restored.vms_.end(), std::move(vm), decode_vm_record(decoder));
    }
    const auto sessions = decoder.u64();
    if (sessions > kMaxSessions) {
        return false;
    }
    for (std::uint64_t i = 0; i < sessions && decoder.ok(); ++i) {
        Session session;
        session.client.high = decoder.u64();
        session.client.low = decoder.u64();
        session.last_active = clock();
        session.answered_below = decoder.u64();
        const auto answers = decoder.count(kMaxOutstanding);
        for (std::size_t k = 0; k < answers && decoder.ok(); ++k) {
            const auto sequence = decoder.u64();
            session.answers.emplace(sequence, decode_answer(decoder));
        }
        const auto client = session.client;
        restored.by_activity_.push_back(std::move(session));
        if (!restored.sessions_.emplace(client, std::prev(restored.by_activity_.end())).second) {
            return false;
        }
    }
    if (!decoder.finished()) {
        return false;
    }
    *this = std::move(restored);
    return true;
}

}  // namespace understudy::arbiter
