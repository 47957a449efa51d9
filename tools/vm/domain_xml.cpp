#include "tools/vm/domain_xml.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <libxml/parser.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "tools/vm/xml_element.hpp"

namespace understudy::tools {
namespace {

constexpr std::size_t kMaxFile = 1U << 20U;

struct DocumentDeleter {
    void operator()(xmlDoc* document) const { xmlFreeDoc(document); }
};
struct ConnectionDeleter {
    void operator()(virConnect* connection) const { virConnectClose(connection); }
};
struct DomainDeleter {
    void operator()(virDomain* domain) const { virDomainFree(domain); }
};

// libvirt's units; a domain's sizes are KiB where none is given.
std::optional<Bytes> size_of(std::string_view number, std::string_view unit) {
    struct Unit {
        std::string_view name;
        std::uint64_t bytes;
    };
    constexpr std::array kUnits = {
        Unit{"b", 1},           Unit{"bytes", 1},     Unit{"KB", 1000},       Unit{"k", 1024},
        Unit{"KiB", 1024},      Unit{"MB", 1000000},  Unit{"M", 1U << 20U},   Unit{"MiB", 1U << 20U},
        Unit{"GB", 1000000000}, Unit{"G", 1U << 30U}, Unit{"GiB", 1U << 30U},
    };
    std::uint64_t value = 0;
    const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), value);
    const auto* const found = std::ranges::find(kUnits, unit, &Unit::name);
    if (failure != std::errc{} || end != number.data() + number.size() || found == kUnits.end() || value == 0 ||
        value > UINT64_MAX / found->bytes) {
        return std::nullopt;
    }
    return Bytes{value * found->bytes};
}

// Walks the domain once, element by element, along the table of rules.
class DomainReader {
  public:
    DomainReader(std::string file, std::string_view network) : file_(std::move(file)), network_override_(network) {}

    VmDescription read(const xmlNode* root) {
        if (attribute(root, "type") != "kvm") {
            refuse(root, "Understudy runs domains of type='kvm'");
        }
        visit_children(root, "");
        if (result_.image.empty() && result_.initrd.empty()) {
            throw Error::format(
                "{}: the domain has nothing to start: give it an image (<disk type='file' device='cdrom'>, "
                "`understudy image` makes one) or an <initrd>",
                file_);
        }
        if (current_memory_ && *current_memory_ != result_.memory) {
            throw Error::format("{}: <currentMemory> differs from <memory>: a guest's memory is fixed, make them equal",
                                file_);
        }
        if (!network_override_.empty() && interface_count_ == 0) {
            result_.network.endpoint = network_override_;
        }
        return std::move(result_);
    }

  private:
    using Handler = void (DomainReader::*)(const xmlNode*);
    // How one element is treated; `path` is relative to <domain>.
    struct Rule {
        std::string_view path;
        Handler handler;
    };
    struct Refusal {
        std::string_view path;
        std::string_view reason;
    };

    // Looked at for what is inside.
    void descend(const xmlNode* element) { allow_attributes(element, {}); }
    // Says nothing that would change what the guest sees or what the user gets.
    void harmless(const xmlNode* /*element*/) {}

    [[noreturn]] void refuse(const xmlNode* element, std::string_view reason) const {
        throw Error::format("{}:{}: <{}> cannot be honoured: {}", file_, xmlGetLineNo(element), name_of(element),
                            reason);
    }

    // An attribute that nobody looks at is a wish that nobody fulfils.
    void allow_attributes(const xmlNode* element, std::initializer_list<std::string_view> allowed) const {
        for (const xmlAttr* it = element->properties; it != nullptr; it = it->next) {
            const std::string name = string_of(it->name);
            if (std::ranges::find(allowed, name) == allowed.end()) {
                refuse(element, fmt::format("Understudy has no use for its attribute '{}', remove it", name));
            }
        }
    }

    void read_name(const xmlNode* element) { result_.name = text_of(element); }

    Bytes read_size(const xmlNode* element) const {
        allow_attributes(element, {"unit", "dumpCore"});
        const auto size = size_of(text_of(element), attribute(element, "unit").value_or("KiB"));
        if (!size) {
            refuse(element, "its size is not one that a guest can have");
        }
        return *size;
    }
    void read_memory(const xmlNode* element) { result_.memory = read_size(element); }
    void read_current_memory(const xmlNode* element) { current_memory_ = read_size(element); }

    void read_vcpu(const xmlNode* element) {
        allow_attributes(element, {"placement", "current"});
        if (text_of(element) != "1") {
            refuse(element, fmt::format("a guest has one vCPU, not {}: write <vcpu>1</vcpu>", text_of(element)));
        }
    }

    void read_os_type(const xmlNode* element) {
        allow_attributes(element, {"arch", "machine"});
        if (text_of(element) != "hvm" || attribute(element, "arch").value_or("x86_64") != "x86_64") {
            refuse(element, "write <type arch='x86_64'>hvm</type>");
        }
    }
    // libvirt itself asks for absolute paths.
    void read_kernel(const xmlNode* element) { result_.kernel = text_of(element); }
    void read_initrd(const xmlNode* element) { result_.initrd = text_of(element); }
    void read_cmdline(const xmlNode* element) { result_.command_line = text_of(element); }

    // The guest's CPU comes from a fixed table, so that every host can be its backup.
    void read_cpu(const xmlNode* element) {
        bool x86_64_v2 = attribute(element, "mode").value_or("custom") == "custom";
        for_each_child(element, [&](const xmlNode* child) {
            const bool model = name_of(child) == "model" && text_of(child) == "Nehalem";
            x86_64_v2 = x86_64_v2 && model;
        });
        if (!x86_64_v2) {
            refuse(element,
                   "every guest sees the same CPU, x86-64-v2 without extras; remove it or write "
                   "<cpu mode='custom'><model>Nehalem</model></cpu>");
        }
    }

    void read_clock(const xmlNode* element) {
        if (attribute(element, "offset").value_or("utc") != "utc") {
            refuse(element, "a guest's clock is UTC: write <clock offset='utc'/>");
        }
    }

    void read_on_poweroff(const xmlNode* element) { must_destroy(element, "a guest that powers off has ended"); }
    void read_on_reboot(const xmlNode* element) { result_.restarts_on_reboot = restarts(element); }
    void read_on_crash(const xmlNode* element) { result_.restarts_on_crash = restarts(element); }
    [[nodiscard]] bool restarts(const xmlNode* element) const {
        const std::string what = text_of(element);
        if (what != "destroy" && what != "restart") {
            refuse(element,
                   fmt::format("the guest ends or starts again: write <{0}>destroy</{0}> or <{0}>restart</{0}>",
                               name_of(element)));
        }
        return what == "restart";
    }
    void must_destroy(const xmlNode* element, std::string_view what_happens) const {
        if (text_of(element) != "destroy") {
            refuse(element,
                   fmt::format("{}: write <{}>destroy</{}>", what_happens, name_of(element), name_of(element)));
        }
    }

    void read_memory_balloon(const xmlNode* element) {
        if (attribute(element, "model") != "none") {
            refuse(element, "a guest's memory is fixed: write <memballoon model='none'/>");
        }
    }

    // A pty is what the tools around libvirt write; there is none, the console is the command's own.
    void read_console(const xmlNode* element) {
        const auto type = attribute(element, "type").value_or("");
        if (type != "pty" && type != "stdio") {
            refuse(element,
                   "the guest's console is the primary's standard input and output: write type='stdio', and "
                   "--console-socket PATH on the command line for a Unix socket");
        }
    }

    // A virtio device feeds the guest, whatever the host's random numbers come from.
    void read_rng(const xmlNode* element) {
        allow_attributes(element, {"model"});
        for_each_child(element, [&](const xmlNode* child) {
            const bool random = name_of(child) == "backend" && attribute(child, "model") == "random";
            const bool place = name_of(child) == "address" || name_of(child) == "alias";
            if (!random && !place) {
                refuse(child, "the guest's random numbers are the host kernel's: write <backend model='random'/>");
            }
        });
    }

    void read_disk(const xmlNode* element) {
        allow_attributes(element, {"type", "device"});
        if (!result_.image.empty()) {
            refuse(element, "a guest has one image, this is the second");
        }
        const std::string device = attribute(element, "device").value_or("disk");
        if (attribute(element, "type") != "file" || (device != "disk" && device != "cdrom")) {
            refuse(element, "a guest's image is a file: write <disk type='file' device='cdrom'>");
        }
        read_only_ = device == "cdrom";
        visit_children(element, "devices/disk");
        if (result_.image.empty()) {
            refuse(element, "name the image with <source file='PATH'/>");
        }
        if (!read_only_) {
            refuse(element,
                   "the image is the same at every host and stays it; what the guest writes is in its memory: add "
                   "<readonly/>");
        }
    }
    void read_disk_source(const xmlNode* element) {
        allow_attributes(element, {"file"});
        result_.image = attribute(element, "file").value_or("");
    }
    void read_disk_driver(const xmlNode* element) {
        if (attribute(element, "type").value_or("raw") != "raw") {
            refuse(element, "an image is the file system itself, as `understudy image` writes it: type='raw'");
        }
    }
    void read_readonly(const xmlNode* /*element*/) { read_only_ = true; }

    void read_interface(const xmlNode* element) {
        allow_attributes(element, {"type"});
        if (++interface_count_ > 1) {
            refuse(element, "a guest has one NIC, this is the second");
        }
        interface_type_ = attribute(element, "type").value_or("");
        visit_children(element, "devices/interface");
        NetworkDescription& network = result_.network;
        if (!network_override_.empty()) {
            network.endpoint = network_override_;
        } else if (interface_type_ == "ethernet" || interface_type_ == "bridge") {
            if (target_.empty()) {
                refuse(element, "name the tap with <target dev='NAME' .../>");
            }
            network.endpoint = "tap:" + target_ + (bridge_.empty() ? "" : ",bridge=" + bridge_);
        } else if (interface_type_ == "client") {
            network.endpoint = "gateway:" + source_;
        } else if (interface_type_ == "user") {
            refuse(element, "a gateway is needed for type='user': say which with --network gateway:unix:PATH");
        } else {
            refuse(element, "the types that can be are ethernet, bridge, client and user");
        }
    }
    void read_mac(const xmlNode* element) {
        allow_attributes(element, {"address"});
        result_.network.mac = parse_mac(attribute(element, "address").value_or(""));
    }
    void read_source(const xmlNode* element) {
        if (interface_type_ == "client") {
            allow_attributes(element, {"address", "port"});
            source_ =
                attribute(element, "address").value_or("127.0.0.1") + ":" + attribute(element, "port").value_or("");
        } else {
            allow_attributes(element, {"bridge"});
            bridge_ = attribute(element, "bridge").value_or("");
        }
    }
    void read_target(const xmlNode* element) {
        allow_attributes(element, {"dev", "managed"});
        target_ = attribute(element, "dev").value_or("");
    }
    void read_model(const xmlNode* element) {
        if (attribute(element, "type") != "virtio") {
            refuse(element, "the guest has a NIC of its own kind: remove it or write <model type='virtio'/>");
        }
    }
    void read_ip(const xmlNode* element) {
        allow_attributes(element, {"family", "address", "prefix"});
        if (attribute(element, "family").value_or("ipv4") != "ipv4" || result_.network.ipv4_address != 0) {
            refuse(element, "a guest has one IPv4 address");
        }
        result_.network.ipv4_address = parse_ipv4(attribute(element, "address").value_or(""));
        result_.network.ipv4_netmask = netmask_of(read_prefix(element, "24"));
    }
    void read_route(const xmlNode* element) {
        allow_attributes(element, {"family", "address", "prefix", "gateway"});
        const bool is_default = attribute(element, "address").value_or("0.0.0.0") == "0.0.0.0" &&
                                read_prefix(element, "0") == 0 &&
                                attribute(element, "family").value_or("ipv4") == "ipv4";
        if (!is_default || result_.network.ipv4_gateway != 0) {
            refuse(element, "a guest has one route beyond its own network, the default one");
        }
        result_.network.ipv4_gateway = parse_ipv4(attribute(element, "gateway").value_or(""));
    }
    unsigned read_prefix(const xmlNode* element, const std::string& otherwise) const {
        const std::string text = attribute(element, "prefix").value_or(otherwise);
        unsigned prefix = 0;
        const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), prefix);
        if (failure != std::errc{} || end != text.data() + text.size() || prefix > 32) {
            refuse(element, "its prefix is not 0 to 32");
        }
        return prefix;
    }

    // The table: every element that may stand in a domain. All others are refused.
    static constexpr std::array kRules = {
        Rule{"name", &DomainReader::read_name},
        Rule{"uuid", &DomainReader::harmless},
        Rule{"title", &DomainReader::harmless},
        Rule{"description", &DomainReader::harmless},
        Rule{"metadata", &DomainReader::harmless},
        Rule{"memory", &DomainReader::read_memory},
        Rule{"currentMemory", &DomainReader::read_current_memory},
        Rule{"vcpu", &DomainReader::read_vcpu},
        Rule{"os", &DomainReader::descend},
        Rule{"os/type", &DomainReader::read_os_type},
        Rule{"os/kernel", &DomainReader::read_kernel},
        Rule{"os/initrd", &DomainReader::read_initrd},
        Rule{"os/cmdline", &DomainReader::read_cmdline},
        Rule{"os/boot", &DomainReader::harmless},  // of no effect beside <kernel>, in QEMU too
        Rule{"features", &DomainReader::descend},  // of a PC that is not there
        Rule{"features/acpi", &DomainReader::harmless},
        Rule{"features/apic", &DomainReader::harmless},
        Rule{"features/pae", &DomainReader::harmless},
        Rule{"features/vmport", &DomainReader::harmless},
        Rule{"cpu", &DomainReader::read_cpu},
        Rule{"clock", &DomainReader::read_clock},
        Rule{"on_poweroff", &DomainReader::read_on_poweroff},
        Rule{"on_reboot", &DomainReader::read_on_reboot},
        Rule{"on_crash", &DomainReader::read_on_crash},
        Rule{"pm", &DomainReader::harmless},  // a guest cannot suspend
        Rule{"devices", &DomainReader::descend},
        Rule{"devices/emulator", &DomainReader::harmless},    // Understudy takes its place
        Rule{"devices/controller", &DomainReader::harmless},  // whatever would hang on it is refused
        Rule{"devices/input", &DomainReader::harmless},       // of no use without graphics, which is refused
        Rule{"devices/memballoon", &DomainReader::read_memory_balloon},
        Rule{"devices/serial", &DomainReader::read_console},
        Rule{"devices/console", &DomainReader::read_console},
        Rule{"devices/rng", &DomainReader::read_rng},
        Rule{"devices/disk", &DomainReader::read_disk},
        Rule{"devices/disk/source", &DomainReader::read_disk_source},
        Rule{"devices/disk/driver", &DomainReader::read_disk_driver},
        Rule{"devices/disk/readonly", &DomainReader::read_readonly},
        Rule{"devices/disk/target", &DomainReader::harmless},  // the guest calls its one disk /dev/vda
        Rule{"devices/disk/boot", &DomainReader::harmless},
        Rule{"devices/disk/alias", &DomainReader::harmless},
        Rule{"devices/disk/address", &DomainReader::harmless},  // of a bus that is not there
        Rule{"devices/interface", &DomainReader::read_interface},
        Rule{"devices/interface/mac", &DomainReader::read_mac},
        Rule{"devices/interface/source", &DomainReader::read_source},
        Rule{"devices/interface/target", &DomainReader::read_target},
        Rule{"devices/interface/model", &DomainReader::read_model},
        Rule{"devices/interface/ip", &DomainReader::read_ip},
        Rule{"devices/interface/route", &DomainReader::read_route},
        Rule{"devices/interface/alias", &DomainReader::harmless},
        Rule{"devices/interface/address", &DomainReader::harmless},  // of a bus that is not there
    };

    // What people try first gets a better answer than "there is no such thing".
    static constexpr std::array kRefusals = {
        Refusal{"devices/filesystem", "files come in the image: `understudy image --add HOST:GUEST`"},
        Refusal{"devices/hostdev", "a device of one host cannot be replicated on another"},
        Refusal{"devices/graphics", "there is no display; the guest's console is text"},
        Refusal{"devices/video", "there is no display; the guest's console is text"},
        Refusal{"os/loader", "there is no firmware: the guest starts in its kernel"},
        Refusal{"cputune", "pin the replica's process instead, with taskset or systemd"},
        Refusal{"memoryBacking", "the guest's memory is ordinary memory, remove it"},
        Refusal{"maxMemory", "a guest's memory is fixed, remove it"},
    };

    void visit_children(const xmlNode* parent, std::string_view parent_path) {
        for_each_child(parent, [&](const xmlNode* element) { visit(element, parent_path); });
    }

    void visit(const xmlNode* element, std::string_view parent_path) {
        const std::string path =
            parent_path.empty() ? name_of(element) : fmt::format("{}/{}", parent_path, name_of(element));
        const auto* const rule = std::ranges::find(kRules, path, &Rule::path);
        if (rule == kRules.end()) {
            const auto* const known = std::ranges::find(kRefusals, path, &Refusal::path);
            refuse(element, known == kRefusals.end() ? "Understudy has no such thing, remove it" : known->reason);
        }
        (this->*rule->handler)(element);
        if (rule->handler == &DomainReader::descend) {
            visit_children(element, path);
        }
    }

    std::string file_;
    std::string network_override_;
    VmDescription result_;
    std::optional<Bytes> current_memory_;
    bool read_only_ = false;  // the disk that is being read
    unsigned interface_count_ = 0;
    std::string interface_type_;
    std::string target_;
    std::string bridge_;
    std::string source_;
};

// libvirt's schema and its own checks, as virsh define would apply them.
void validate_with_libvirt(const std::string& xml, const std::string& file) {
    // libvirt prints every error on stderr unless it is given somewhere else to put it.
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
    const auto complain = [&](std::string_view what) {
        std::string message = virGetLastErrorMessage();
        // A schema violation is reported with the schema's path on the first line and the finding behind it.
        if (const auto line_end = message.find('\n'); line_end != std::string::npos) {
            message.erase(0, line_end + 1);
        }
        return Error::format("{}: {}: {}", file, what, trim(message));
    };
    const std::unique_ptr<virConnect, ConnectionDeleter> connection(virConnectOpen("test:///default"));
    if (!connection) {
        throw complain("libvirt's test driver is not available to validate it");
    }
    // That driver has a domain to begin with, whose name this one may have.
    if (const std::unique_ptr<virDomain, DomainDeleter> first(virDomainLookupByName(connection.get(), "test")); first) {
        virDomainDestroy(first.get());
        virDomainUndefine(first.get());
    }
    const std::unique_ptr<virDomain, DomainDeleter> domain(
        virDomainDefineXMLFlags(connection.get(), xml.c_str(), VIR_DOMAIN_DEFINE_VALIDATE));
    if (!domain) {
        throw complain("not a valid libvirt domain");
    }
}

}  // namespace

VmDescription read_domain(std::string_view xml, const std::string& file, std::string_view network) {
    if (xml.size() > kMaxFile) {
        throw Error::format("{}: larger than a domain can be ({} KiB)", file, kMaxFile >> 10U);
    }
    xmlResetLastError();
    const std::unique_ptr<xmlDoc, DocumentDeleter> document(
        xmlReadMemory(xml.data(), static_cast<int>(xml.size()), file.c_str(), nullptr,
                      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING));
    if (!document) {
        const xmlError* const error = xmlGetLastError();
        throw Error::format("{}:{}: not well-formed XML: {}", file, error == nullptr ? 0 : error->line,
                            error == nullptr || error->message == nullptr ? "unreadable" : trim(error->message));
    }
    // What its entities stand for would be missing where they are used, and nobody would notice.
    if (document->intSubset != nullptr) {
        throw Error::format("{}: a domain has no use for a <!DOCTYPE>: remove it, and write out its entities", file);
    }
    const xmlNode* const root = xmlDocGetRootElement(document.get());
    if (root == nullptr || name_of(root) != "domain") {
        throw Error::format("{}: not a libvirt domain: its root element is not <domain>", file);
    }
    validate_with_libvirt(std::string(xml), file);
    return DomainReader(file, network).read(root);
}

VmDescription read_domain_file(const std::filesystem::path& file, std::string_view network) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
        throw Error::from_errno("cannot read the domain " + file.string(), errno);
    }
    std::string xml(kMaxFile + 1, '\0');
    stream.read(xml.data(), static_cast<std::streamsize>(xml.size()));
    xml.resize(static_cast<std::size_t>(stream.gcount()));
    return read_domain(xml, file.string(), network);
}

}  // namespace understudy::tools
