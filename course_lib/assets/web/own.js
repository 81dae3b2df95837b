// The part of the page where visitors teach classes of their own.
import { cameraThere, explain, photograph } from "./camera.js";
import { copyOf, find } from "./page.js";
import { forget, holderOf, keep, kept, missing, MOST, OwnHead } from "./teach.js";
const pictures = (count) => `${count} picture${count === 1 ? "" : "s"}`;
export class OwnClasses {
    look;
    model;
    groups = [];
    head = null;
    use = find("#use-own");
    keeping = find("#keep");
    constructor(look, model) {
        this.look = look;
        this.model = model;
        find("#add-group").addEventListener("click", () => find("input[type=text]", this.add({ name: "", lessons: [] }).field).focus());
        this.keeping.addEventListener("click", () => this.keep());
        find("#forget").addEventListener("click", () => this.forget());
        this.restore();
        if (this.groups.length === 0)
            this.addTwo();
        find("#teach").hidden = false;
    }
    // Scores of the visitor's own classes, best first; null where the model's are asked.
    judge(features) {
        return this.use.checked && this.head ? this.head.judge(features) : null;
    }
    addTwo() { for (let i = 0; i < 2; i++)
        this.add({ name: "", lessons: [] }); }
    restore() {
        try {
            const found = kept(this.model);
            if (!found)
                return;
            found.forEach(group => this.add(group));
            this.use.checked = this.head !== null;
            find("#teach details").open = true;
        }
        catch (error) {
            this.complain(`What you kept cannot be used: ${error.message}.`);
            this.groups.splice(0).forEach(({ field }) => field.remove());
        }
    }
    add({ name, lessons }) {
        const field = copyOf("#group"), input = find("input[type=text]", field), files = find("input[type=file]", field);
        const group = { name, lessons: [], field };
        this.groups.push(group);
        input.value = name;
        input.addEventListener("input", () => { group.name = input.value.trim(); this.learn(); });
        files.addEventListener("change", () => { this.takeAll([...files.files ?? []], group); files.value = ""; });
        find(".add", field).addEventListener("click", () => files.click());
        this.offerCamera(find(".camera", field), group);
        find(".remove", field).addEventListener("click", () => {
            this.groups.splice(this.groups.indexOf(group), 1);
            field.remove();
            this.learn();
            find("#add-group").focus();
        });
        lessons.forEach(lesson => this.show(lesson, group));
        find("#groups").append(field);
        this.learn();
        return group;
    }
    offerCamera(button, group) {
        button.hidden = matchMedia("(pointer: coarse)").matches || !cameraThere(); // A phone offers its camera where files are chosen
        button.addEventListener("click", async () => {
            try {
                const photo = await photograph(find("#photo"));
                if (photo)
                    await this.take(photo, "The photo", group);
            }
            catch (error) {
                this.complain(explain(error));
            }
        });
    }
    async takeAll(files, group) {
        this.complain("");
        for (const file of files)
            await this.take(file, file.name || "The picture", group);
    }
    async take(file, name, group) {
        const all = this.groups.reduce((sum, { lessons }) => sum + lessons.length, 0);
        if (all >= MOST)
            return this.complain(`${name} was left out: ${MOST} pictures are the most.`, true);
        try {
            const lesson = await this.look(file, name), holder = holderOf(lesson.features, this.groups);
            if (!this.groups.includes(group))
                return; // Removed meanwhile
            if (holder === group)
                return this.complain(`${name} is there already. The same picture twice teaches nothing new.`, true);
            if (holder)
                return this.complain(`${name} is in the class \u201c${holder.name}\u201d already. A picture can be in one class only.`, true);
            this.show(lesson, group);
            this.learn();
        }
        catch (error) {
            this.complain(`${name}: ${error.message}`, true);
        }
    }
    show(lesson, group) {
        const button = copyOf("#lesson"), image = new Image();
        image.src = URL.createObjectURL(lesson.thumbnail);
        image.alt = "";
        button.prepend(image);
        button.addEventListener("click", () => {
            group.lessons.splice(group.lessons.indexOf(lesson), 1);
            URL.revokeObjectURL(image.src);
            button.remove();
            this.learn();
            find(".add", group.field).focus();
        });
        group.lessons.push(lesson);
        find(".row", group.field).append(button);
    }
    // Learns at every change: with a few pictures it takes a thousandth of a second.
    learn() {
        const lacking = missing(this.groups), before = this.head;
        this.head = lacking ? null : OwnHead.fit(this.groups);
        this.use.disabled = this.keeping.disabled = !this.head;
        if (!this.head)
            this.use.checked = false;
        else if (!before)
            this.use.checked = true;
        this.tell(this.head ? `Learned from ${pictures(this.head.count)}. Each judged by what the others taught: ${this.head.right} of ${this.head.count} right.` : lacking);
    }
    tell(words) { find("#teach-state").textContent = words; }
    complain(words, more = false) {
        const place = find("#teach-problem"), before = more ? place.textContent : "";
        place.textContent = [before, words].filter(Boolean).join(" ");
        place.hidden = place.textContent === "";
    }
    async keep() {
        try {
            await keep(this.groups, this.model);
            this.tell(`Kept on this device for your next visit: ${pictures(this.head.count)}.`);
        }
        catch {
            this.complain("This browser has no room for them, or keeps nothing for this page.");
        }
    }
    forget() {
        try {
            forget();
        }
        catch { /* A browser that keeps nothing has nothing to forget */ }
        this.groups.splice(0).forEach(({ field }) => field.remove());
        this.complain("");
        this.addTwo();
        this.tell("Forgotten. Nothing of it is left on this device.");
    }
}
