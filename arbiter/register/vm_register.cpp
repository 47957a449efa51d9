#include "arbiter/register/vm_register.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace understudy::arbiter {
namespace {

bool valid_name(const std::string& name) {
    return !name.empty() && name.size() <= kMaxName;
}

bool valid(const FormRequest& request) {
    const auto& members = request.members;
    const bool names = valid_name(request.vm) && valid_name(request.proposer) && !members.empty() &&
                       members.size() <= kMaxReplicas && std::all_of(members.begin(), members.end(), valid_name);
    if (!names || request.next <= request.expected) {
        return false;
    }
    for (auto it = members.begin(); it != members.end(); ++it) {
        if (std::find(std::next(it), members.end(), *it) != members.end()) {
            return false;
        }
    }
    return std::find(members.begin(), members.end(), request.proposer) != members.end();
}

bool owns(const VmState& state, const ReplicaId& replica) {
    if (state.winner) {
        return *state.winner == replica;
    }
    return state.members.size() == 1 && state.members.front() == replica;
}

Decision refuse(Reason reason) {
    return {false, reason};
}

}  // namespace

Decision decide(std::optional<VmRecord>& record, const FormRequest& request) {
    if (!valid(request)) {
        return refuse(Reason::invalid);
    }
    const bool repeated = record && record->state.generation == request.next &&
                          record->formed_from == request.expected && record->proposer == request.proposer &&
                          record->state.members == request.members;
    if (repeated) {
        return {true, Reason::none};
    }
    const Generation current = record ? record->state.generation : Generation{0};
    if (current != request.expected) {
        if (!record) {
            return refuse(Reason::unknown_vm);
        }
        return refuse(request.expected == Generation{0} ? Reason::already_claimed : Reason::other_generation);
    }
    const bool claims = request.members.size() == 1;
    if (record && !(record->state.ended() ? claims : owns(record->state, request.proposer))) {
        return refuse(Reason::not_owner);
    }
    record = VmRecord{VmState{request.next, request.members, std::nullopt}, request.expected, request.proposer};
    return {true, Reason::none};
}

Decision decide(std::optional<VmRecord>& record, const TestAndSetRequest& request) {
    if (!valid_name(request.vm) || !valid_name(request.candidate)) {
        return refuse(Reason::invalid);
    }
    if (!record) {
        return refuse(Reason::unknown_vm);
    }
    auto& state = record->state;
    if (state.generation != request.generation) {
        return refuse(Reason::other_generation);
    }
    if (std::find(state.members.begin(), state.members.end(), request.candidate) == state.members.end()) {
        return refuse(Reason::not_member);
    }
    if (state.winner && *state.winner != request.candidate) {
        return refuse(Reason::lost);
    }
    state.winner = request.candidate;
    return {true, Reason::none};
}

Decision decide(std::optional<VmRecord>& record, const EndRequest& request) {
    const bool by_operator = request.replica.empty();
    if (!valid_name(request.vm) || (!by_operator && !valid_name(request.replica))) {
        return refuse(Reason::invalid);
    }
    if (!record) {
        return refuse(Reason::unknown_vm);
    }
    auto& state = record->state;
    if (state.generation != request.generation) {
        return refuse(Reason::other_generation);
    }
    if (state.ended()) {
        return {true, Reason::none};
    }
    const bool member = std::find(state.members.begin(), state.members.end(), request.replica) != state.members.end();
    if (!by_operator && !member) {
        return refuse(Reason::not_member);
    }
    if (!by_operator && state.winner && *state.winner != request.replica) {
        return refuse(Reason::lost);
    }
    state.members.clear();
    state.winner.reset();
    return {true, Reason::none};
}

Decision decide(std::optional<VmRecord>& record, const VmOperation& operation) {
    return std::visit([&](const auto& request) { return decide(record, request); }, operation);
}

bool within_bounds(const VmOperation& operation) {
    const auto fits = [](const std::string& name) { return name.size() <= kMaxName; };
    if (const auto* form = std::get_if<FormRequest>(&operation)) {
        return fits(form->vm) && fits(form->proposer) && form->members.size() <= kMaxReplicas &&
               std::ranges::all_of(form->members, fits);
    }
    if (const auto* test = std::get_if<TestAndSetRequest>(&operation)) {
        return fits(test->vm) && fits(test->candidate);
    }
    const auto& end = std::get<EndRequest>(operation);
    return fits(end.vm) && fits(end.replica);
}

std::string explain(Reason reason, const VmId& vm, const std::optional<VmState>& current) {
    const auto generation = current ? current->generation.value : 0;
    switch (reason) {
        case Reason::none:
            return {};
        case Reason::unknown_vm:
            return fmt::format("VM {} is not registered", vm);
        case Reason::already_claimed:
            return fmt::format(
                "VM {} is already registered, at generation {}: it runs elsewhere or did; join it as a backup, or give "
                "this one another name; if no replica of it runs any more: understudy arbiter forget",
                vm, generation);
        case Reason::other_generation:
            return fmt::format("VM {} is at generation {}", vm, generation);
        case Reason::not_owner:
            return fmt::format("generation {} of VM {} belongs to another replica", generation, vm);
        case Reason::not_member:
            return fmt::format("not a member of generation {} of VM {}", generation, vm);
        case Reason::lost:
            return fmt::format("{} won generation {} of VM {}",
                               current && current->winner ? *current->winner : "another", generation, vm);
        case Reason::invalid:
            return fmt::format(
                "the request for VM {} is malformed: a name is empty or longer than {} bytes, the members "
                "are not 1 to {} different ones with the proposer among them, or the generation does "
                "not rise",
                vm.substr(0, kMaxName), kMaxName, kMaxReplicas);
        case Reason::full:
            return "the arbiter has no room for another VM or client";
        case Reason::superseded:
            return "the request was answered before";
        case Reason::not_permitted:
            return fmt::format("these credentials are not those of a host for VM {}: 'understudy init' makes them", vm);
    }
    return "?";
}

void encode(Encoder& encoder, const VmState& state) {
    encoder.u64(state.generation.value).u32(static_cast<std::uint32_t>(state.members.size()));
    for (const auto& member : state.members) {
        encoder.bytes(member);
    }
    encoder.flag(state.winner.has_value());
    if (state.winner) {
        encoder.bytes(*state.winner);
    }
}

VmState decode_vm_state(Decoder& decoder) {
    VmState state;
    state.generation.value = decoder.u64();
    const auto count = decoder.count(kMaxReplicas);
    for (std::size_t i = 0; i < count && decoder.ok(); ++i) {
        state.members.push_back(decoder.string(kMaxName));
    }
    if (decoder.flag()) {
        state.winner = decoder.string(kMaxName);
    }
    return state;
}

void encode(Encoder& encoder, const VmRecord& record) {
    encode(encoder, record.state);
    encoder.u64(record.formed_from.value).bytes(record.proposer);
}

VmRecord decode_vm_record(Decoder& decoder) {
    VmRecord record;
    record.state = decode_vm_state(decoder);
    record.formed_from.value = decoder.u64();
    record.proposer = decoder.string(kMaxName);
    return record;
}

}  // namespace understudy::arbiter
