/* What kernel.h declares. */
#include <Zydis/Zydis.h>

ssize_t kernel_read(struct file *file, void *buffer, size_t size, loff_t *offset)
{
	size_t from = (size_t)*offset;
	size_t got = from >= file->size ? 0 : min(size, file->size - from);

	memcpy(buffer, file->bytes + from, got);
	*offset += (loff_t)got;
	return (ssize_t)got;
}

int insn_decode(struct insn *insn, const void *code, int bytes, enum insn_mode mode)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction decoded;
	u8 i;

	(void)mode;
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (bytes <= 0 ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code, (size_t)bytes, &decoded)))
		return -1;
	memset(insn, 0, sizeof(*insn));
	insn->length = decoded.length;
	for (i = 0; i < decoded.raw.prefix_count; i++) {
		if ((decoded.raw.prefixes[i].value & 0xf0) == 0x40)
			insn->rex_prefix.nbytes = 1;
		else
			insn->prefixes.nbytes++;
	}
	return 0;
}
