// What every command is made of, and the table of them.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>

#include "guest/programs/kv/reply.hpp"
#include "guest/programs/kv/store.hpp"

namespace understudy::kv {

// A command's refusal: its text, code first, becomes the reply, and nothing has been changed.
class CommandError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// What INFO tells; kept by the server.
struct Statistics {
    std::uint64_t connected_clients = 0;
    std::uint64_t total_connections = 0;
    std::uint64_t total_commands = 0;
    Time started{};
};

struct Settings {
    std::uint16_t port = 6379;
    std::uint64_t max_memory = 128U << 20;
    std::uint64_t max_clients = 4000;
    std::uint64_t max_value = 16U << 20;
};

// What a command may do to its connection.
struct Session {
    std::uint64_t id = 0;
    std::string name;
    bool quit = false;  // close once the replies are sent
};

class CommandTable;

// One request on its way through the server.
struct Call {
    std::span<const std::string_view> arguments;  // the command's name first
    Store& store;
    Reply& reply;
    Session& session;
    const Statistics& statistics;
    const Settings& settings;
    const CommandTable& table;
    bool& shutdown;
};

using CommandFunction = void (*)(Call& call);

struct Command {
    std::string_view name;                                                // upper case
    int arity;                                                            // arguments with the name; -n: n or more
    enum class Effect : std::uint8_t { kReads, kWrites, kGrows } effect;  // kGrows: refused when memory is full
    CommandFunction function;
    int first_key = 0;  // positions of the keys, as COMMAND tells clients: 0: none; last -1: to the end
    int last_key = 0;
    int key_step = 0;
};

class CommandTable {
  public:
    CommandTable();

    // In any case. nullptr: unknown.
    [[nodiscard]] const Command* find(std::string_view name) const;
    // In the order of their definition.
    [[nodiscard]] std::span<const Command> all() const { return commands_; }

    // Runs a request of at least one argument: always one reply, errors included.
    void run(Call& call) const;

  private:
    std::vector<Command> commands_;
    std::unordered_map<std::string_view, std::size_t> by_name_;
};

// Defined beside their functions.
std::span<const Command> connection_commands();
std::span<const Command> server_commands();
std::span<const Command> key_commands();
std::span<const Command> string_commands();
std::span<const Command> list_commands();
std::span<const Command> set_commands();
std::span<const Command> hash_commands();
std::span<const Command> sorted_set_commands();

// --- For the commands ---------------------------------------------------------------------------------------------

std::string upper_case(std::string_view text);
std::int64_t parse_integer(std::string_view text);  // throws CommandError
double parse_double(std::string_view text);         // throws CommandError
std::string format_double(double value);
// Shell patterns: * ? [a-z] [^a] and \ before a character that stands for itself.
bool matches(std::string_view pattern, std::string_view text);
// start and stop count from the end where negative; the result is a range of a sequence of `size`, possibly empty.
struct IndexRange {
    std::size_t begin;
    std::size_t end;
};
IndexRange index_range(std::int64_t start, std::int64_t stop, std::size_t size);
[[noreturn]] void throw_syntax_error();

// The key's value as a T; nullptr: no such key. Throws CommandError when it is of another type.
template <typename T>
T* find_as(Call& call, std::string_view key) {
    Value* value = call.store.find(key);
    if (value == nullptr) {
        return nullptr;
    }
    T* typed = std::get_if<T>(value);
    if (typed == nullptr) {
        throw CommandError("WRONGTYPE Operation against a key holding the wrong kind of value");
    }
    return typed;
}

// As find_as, but an absent key gets an empty T.
template <typename T>
T& make_as(Call& call, std::string_view key) {
    T* found = find_as<T>(call, key);
    return found != nullptr ? *found : std::get<T>(call.store.assign(key, T{}));
}

// A collection that has lost its last element is no key any more.
template <typename T>
void erase_if_empty(Call& call, std::string_view key, const T& collection) {
    if (collection.empty()) {
        call.store.erase(key);
    }
}

}  // namespace understudy::kv
