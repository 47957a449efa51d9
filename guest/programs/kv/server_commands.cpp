// The connection's and the server's own commands.
#include <array>
#include <vector>

#include "guest/programs/kv/allocation.hpp"
#include "guest/programs/kv/command.hpp"
#include "guest/programs/kv/expiry.hpp"

namespace understudy::kv {
namespace {

using Effect = Command::Effect;

constexpr std::string_view kVersion = "7.0.0";  // the Redis whose protocol this is

// --- Connection ---------------------------------------------------------------------------------------------------

void ping(Call& call) {
    if (call.arguments.size() > 2) {
        throw CommandError("ERR wrong number of arguments for 'ping' command");
    }
    call.arguments.size() == 2 ? call.reply.bulk(call.arguments[1]) : call.reply.status("PONG");
}

void echo(Call& call) {
    call.reply.bulk(call.arguments[1]);
}

void select_database(Call& call) {
    if (parse_integer(call.arguments[1]) != 0) {
        throw CommandError("ERR DB index is out of range");
    }
    call.reply.ok();
}

void quit(Call& call) {
    call.session.quit = true;
    call.reply.ok();
}

void reset(Call& call) {
    call.session.name.clear();
    call.reply.status("RESET");
}

void check_name(std::string_view name) {
    constexpr std::size_t kMaxName = 256;
    for (const char c : name) {
        if (c < '!' || c > '~') {
            throw CommandError("ERR Client names cannot contain spaces, newlines or special characters.");
        }
    }
    if (name.size() > kMaxName) {
        throw CommandError("ERR Client names cannot be that long");
    }
}

// HELLO [protocol [AUTH user password] [SETNAME name]]
void hello(Call& call) {
    if (call.arguments.size() > 1 && call.arguments[1] != "2") {
        throw CommandError("NOPROTO unsupported protocol version");
    }
    for (std::size_t i = 2; i < call.arguments.size(); i += 2) {
        if (upper_case(call.arguments[i]) != "SETNAME" || i + 1 == call.arguments.size()) {
            throw CommandError("ERR Syntax error in HELLO option '" + std::string(call.arguments[i]) + "'");
        }
        check_name(call.arguments[i + 1]);
        call.session.name = call.arguments[i + 1];
    }
    call.reply.array(14);
    call.reply.bulk("server");
    call.reply.bulk("redis");
    call.reply.bulk("version");
    call.reply.bulk(kVersion);
    call.reply.bulk("proto");
    call.reply.integer(2);
    call.reply.bulk("id");
    call.reply.integer(static_cast<std::int64_t>(call.session.id));
    call.reply.bulk("mode");
    call.reply.bulk("standalone");
    call.reply.bulk("role");
    call.reply.bulk("master");
    call.reply.bulk("modules");
    call.reply.array(0);
}

void client(Call& call) {
    const std::string what = upper_case(call.arguments[1]);
    const std::size_t count = call.arguments.size();
    if (what == "ID" && count == 2) {
        call.reply.integer(static_cast<std::int64_t>(call.session.id));
    } else if (what == "GETNAME" && count == 2) {
        call.reply.bulk(call.session.name);
    } else if (what == "SETNAME" && count == 3) {
        check_name(call.arguments[2]);
        call.session.name = call.arguments[2];
        call.reply.ok();
    } else if (what == "SETINFO" && count == 4) {
        call.reply.ok();
    } else {
        throw CommandError("ERR unknown subcommand or wrong number of arguments for CLIENT");
    }
}

// --- Server -------------------------------------------------------------------------------------------------------

void describe(Call& call, const Command& command) {
    std::string name(command.name);
    for (char& c : name) {
        c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    call.reply.array(6);
    call.reply.bulk(name);
    call.reply.integer(command.arity);
    call.reply.array(1);
    call.reply.status(command.effect == Effect::kReads ? "readonly" : "write");
    call.reply.integer(command.first_key);
    call.reply.integer(command.last_key);
    call.reply.integer(command.key_step);
}

// COMMAND [COUNT | INFO name ... | DOCS ...]
void command(Call& call) {
    const std::string what = call.arguments.size() > 1 ? upper_case(call.arguments[1]) : "";
    if (what.empty()) {
        call.reply.array(call.table.all().size());
        for (const Command& known : call.table.all()) {
            describe(call, known);
        }
    } else if (what == "COUNT") {
        call.reply.integer(static_cast<std::int64_t>(call.table.all().size()));
    } else if (what == "INFO") {
        call.reply.array(call.arguments.size() - 2);
        for (const std::string_view name : call.arguments.subspan(2)) {
            const Command* known = call.table.find(name);
            known == nullptr ? call.reply.null_array() : describe(call, *known);
        }
    } else if (what == "DOCS") {
        call.reply.array(0);
    } else {
        throw CommandError("ERR unknown subcommand for COMMAND");
    }
}

void config(Call& call) {
    const std::string what = upper_case(call.arguments[1]);
    if (what == "RESETSTAT" && call.arguments.size() == 2) {
        call.reply.ok();
        return;
    }
    if (what != "GET" || call.arguments.size() < 3) {
        throw CommandError("ERR only CONFIG GET and CONFIG RESETSTAT are there; settings come from the command line");
    }
    const std::vector<std::pair<std::string, std::string>> settings{
        {"appendonly", "no"},
        {"databases", "1"},
        {"maxclients", std::to_string(call.settings.max_clients)},
        {"maxmemory", std::to_string(call.settings.max_memory)},
        {"maxmemory-policy", "noeviction"},
        {"port", std::to_string(call.settings.port)},
        {"proto-max-bulk-len", std::to_string(call.settings.max_value)},
        {"save", ""},
        {"timeout", "0"},
    };
    std::vector<const std::pair<std::string, std::string>*> found;
    for (const auto& setting : settings) {
        for (const std::string_view pattern : call.arguments.subspan(2)) {
            if (matches(pattern, setting.first)) {
                found.push_back(&setting);
                break;
            }
        }
    }
    call.reply.array(found.size() * 2);
    for (const auto* setting : found) {
        call.reply.bulk(setting->first);
        call.reply.bulk(setting->second);
    }
}

void info(Call& call) {
    const auto uptime = (call.store.now() - call.statistics.started) / kSecond;
    std::string text;
    const auto line = [&](std::string_view name, const std::string& value) {
        text.append(name).append(":").append(value).append("\r\n");
    };
    text += "# Server\r\n";
    line("redis_version", std::string(kVersion));
    line("redis_mode", "standalone");
    line("server_name", "understudy-kv");
    line("tcp_port", std::to_string(call.settings.port));
    line("uptime_in_seconds", std::to_string(uptime));
    text += "\r\n# Clients\r\n";
    line("connected_clients", std::to_string(call.statistics.connected_clients));
    line("maxclients", std::to_string(call.settings.max_clients));
    text += "\r\n# Memory\r\n";
    line("used_memory", std::to_string(allocated_bytes()));
    line("maxmemory", std::to_string(call.settings.max_memory));
    text += "\r\n# Stats\r\n";
    line("total_connections_received", std::to_string(call.statistics.total_connections));
    line("total_commands_processed", std::to_string(call.statistics.total_commands));
    text += "\r\n# Replication\r\n";
    line("role", "master");
    text += "\r\n# Keyspace\r\n";
    if (call.store.size() > 0) {
        line("db0", "keys=" + std::to_string(call.store.size()) + ",expires=" + std::to_string(call.store.expiring()));
    }
    call.reply.bulk(text);
}

void time(Call& call) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    call.reply.array(2);
    call.reply.bulk(std::to_string(now.tv_sec));
    call.reply.bulk(std::to_string(now.tv_nsec / 1000));
}

void shutdown(Call& call) {
    call.shutdown = true;
    call.session.quit = true;
    call.reply.ok();
}

constexpr std::array kConnectionCommands{
    Command{"PING", -1, Effect::kReads, ping},
    Command{"ECHO", 2, Effect::kReads, echo},
    Command{"SELECT", 2, Effect::kReads, select_database},
    Command{"QUIT", -1, Effect::kReads, quit},
    Command{"RESET", 1, Effect::kReads, reset},
    Command{"HELLO", -1, Effect::kReads, hello},
    Command{"CLIENT", -2, Effect::kReads, client},
};

constexpr std::array kServerCommands{
    Command{"COMMAND", -1, Effect::kReads, command},   Command{"CONFIG", -2, Effect::kReads, config},
    Command{"INFO", -1, Effect::kReads, info},         Command{"TIME", 1, Effect::kReads, time},
    Command{"SHUTDOWN", -1, Effect::kReads, shutdown},
};

}  // namespace

std::span<const Command> connection_commands() {
    return kConnectionCommands;
}
std::span<const Command> server_commands() {
    return kServerCommands;
}

}  // namespace understudy::kv
