// What one client wrote, what of that was acknowledged, and what a later look at the server says of it. Pure.
//
// Every write has a number, the next one, and goes to the key that is next in a ring of the client's own. A server that
// loses the last moments before its death loses the last numbers of each client, and each of them has left its key in
// an older state: as long as no more than a ring is written between the death and the look, every one shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/verifier/judgement.hpp"
#include "tools/verifier/reply.hpp"

namespace understudy::tools {

class WriteLedger {
  public:
    static constexpr std::size_t kKeys = 1024;

    // `prefix`: of the keys; no other client's.
    explicit WriteLedger(std::string prefix) : prefix_(std::move(prefix)), slots_(kKeys) {}

    struct Write {
        std::string key;
        std::uint64_t number = 0;  // what the key is to hold
    };
    [[nodiscard]] Write next();
    // Of a write that next() gave.
    void acknowledge(std::uint64_t number);

    // The keys that were written since this was asked last.
    [[nodiscard]] std::vector<std::size_t> keys_to_check();
    [[nodiscard]] std::string name_of(std::size_t key) const;
    // What the server has there. Lost: less than was acknowledged; a write that was not acknowledged may be there or
    // not; anything else contradicts. Each finding counts once.
    [[nodiscard]] Judgement judge(std::size_t key, const Reply& found);

  private:
    struct Slot {
        std::uint64_t written = 0;       // the last number that was sent there
        std::uint64_t acknowledged = 0;  // and that was acknowledged; 0: none
    };

    std::string prefix_;
    std::vector<Slot> slots_;
    std::uint64_t number_ = 0;
    std::uint64_t checked_ = 0;
};

}  // namespace understudy::tools
