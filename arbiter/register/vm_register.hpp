// The rules of the register: what becomes of one VM's record when somebody asks (requests.hpp). Pure functions, by
// which both engines decide, the Raft state machine and the etcd client.
#pragma once

#include <optional>
#include <string>

#include "arbiter/register/requests.hpp"
#include "common/codec.hpp"
#include "common/name.hpp"

namespace understudy::arbiter {

constexpr std::size_t kMaxName = kMaxNameBytes;  // in a VmId or ReplicaId
constexpr std::size_t kMaxReplicas = 8;          // members of one generation

// What is kept of one VM.
struct VmRecord {
    VmState state;
    // The request that formed the newest generation, so that it gets the same answer when it is repeated.
    Generation formed_from;
    ReplicaId proposer;

    bool operator==(const VmRecord&) const = default;
};

// Why a request is not granted. The numbers are on the wire and on disk.
enum class Reason : std::uint8_t {
    none = 0,              // granted
    unknown_vm = 1,        // the VM is not registered
    already_claimed = 2,   // a claim, and the VM is registered
    other_generation = 3,  // the request's generation is not the newest
    not_owner = 4,         // form: the proposer did not win the generation and is not alone in it
    not_member = 5,        // test_and_set: the candidate is not of that generation
    lost = 6,              // test_and_set: another member asked first
    invalid = 7,           // names or members out of bounds, or next is not above expected
    full = 8,              // the register or its table of clients has no room
    superseded = 9,        // a repeated request that its own client has long had the answer to
    not_permitted = 10,    // the certificate of who asks is not for this VM
};
// One line for the user.
[[nodiscard]] std::string explain(Reason reason, const VmId& vm, const std::optional<VmState>& current);

struct Decision {
    bool granted = false;
    Reason reason = Reason::none;
};

// `record` is empty where the VM is not registered; it is changed only when the request is granted.
[[nodiscard]] Decision decide(std::optional<VmRecord>& record, const FormRequest& request);
[[nodiscard]] Decision decide(std::optional<VmRecord>& record, const TestAndSetRequest& request);
[[nodiscard]] Decision decide(std::optional<VmRecord>& record, const EndRequest& request);
[[nodiscard]] Decision decide(std::optional<VmRecord>& record, const VmOperation& operation);

// No name in it is longer, and there are no more members, than are kept and replicated. What is beyond is answered
// Reason::invalid without being asked of the register.
[[nodiscard]] bool within_bounds(const VmOperation& operation);

// As they are on the wire and on disk, field by field; strings and lists within the bounds above.
void encode(Encoder& encoder, const VmState& state);
[[nodiscard]] VmState decode_vm_state(Decoder& decoder);
void encode(Encoder& encoder, const VmRecord& record);
[[nodiscard]] VmRecord decode_vm_record(Decoder& decoder);

}  // namespace understudy::arbiter
